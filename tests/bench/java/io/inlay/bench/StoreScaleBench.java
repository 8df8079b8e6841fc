package io.inlay.bench;

import io.inlay.delta.DeltaManifest;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import io.inlay.store.Aliases;
import io.inlay.store.Blobs;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.VersionFilter;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.flywaydb.core.Flyway;
import org.h2.jdbcx.JdbcConnectionPool;

/**
 * How a store grows: listing a page, resolving an alias and publishing at 10 tenants and at 10,000, of 10 versions each, with the database
 * and the folder that a server has. The two stores take turns.
 */
public final class StoreScaleBench {

    private static final int VERSIONS = 10;
    /** Many, so that a server's steady state is measured and not the JVM's first minute. */
    private static final int ROUNDS = 20_000;
    private static final int ROUNDS_A_PUBLISH = 40;

    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 32, 32);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 1, 1e-3));

    private StoreScaleBench() {
    }

    /** A store and what its operations took, in milliseconds. */
    private record Grown(DeltaRegistry store, int tenants, List<Double> list, List<Double> resolve, List<Double> publish) {
    }

    public static void main(String[] arguments) throws IOException {
        int many = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 10_000;
        Path folder = Files.createTempDirectory(Path.of("target"), "store-scale");
        try {
            new StoreScaleBench().run(folder, many);
        } finally {
            try (Stream<Path> all = Files.walk(folder)) {
                all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
            }
        }
    }

    private void run(Path folder, int many) {
        Grown few = grow(folder.resolve("few"), 10);
        Grown grown = grow(folder.resolve("many"), many);
        read(few);
        read(grown);
        SplittableRandom random = new SplittableRandom(1);
        for (int round = 0; round < ROUNDS; round++) {
            measure(few, random, round);
            measure(grown, random, round);
        }
        Figures.table(List.of(new String[] {"milliseconds, median", "10 tenants", many + " tenants"}, row("list a page", few.list(), grown.list()),
                row("resolve an alias", few.resolve(), grown.resolve()), row("publish", few.publish(), grown.publish())));
        Figures.atMost("store.list-" + many + "-vs-10-tenants", ratio(grown.list(), few.list()), 2);
        Figures.atMost("store.resolve-" + many + "-vs-10-tenants", ratio(grown.resolve(), few.resolve()), 2);
        Figures.atMost("store.publish-" + many + "-vs-10-tenants", ratio(grown.publish(), few.publish()), 2);
    }

    private static String[] row(String what, List<Double> few, List<Double> many) {
        return new String[] {what, String.format(Locale.ROOT, "%.3f", Figures.median(few)), String.format(Locale.ROOT, "%.3f",
                Figures.median(many))};
    }

    private static double ratio(List<Double> many, List<Double> few) {
        return Figures.median(many) / Figures.median(few);
    }

    private Grown grow(Path folder, int tenants) {
        JdbcConnectionPool source = JdbcConnectionPool.create("jdbc:h2:file:" + folder.toAbsolutePath().resolve("inlay") + ";WRITE_DELAY=0",
                "inlay", "inlay");
        Flyway.configure().dataSource(source).locations("filesystem:src/main/resources/db/migration").load().migrate();
        DeltaRegistry store = new DeltaRegistry(Blobs.folder(folder.resolve("files")), source);
        long start = System.nanoTime();
        for (int tenant = 0; tenant < tenants; tenant++) {
            for (int version = 0; version < VERSIONS; version++) {
                publish(store, "tenant-" + tenant);
            }
            store.aliases().move(new Aliases.Task("tenant-" + tenant, "base", "faq"), "production", 5, OptionalInt.empty());
        }
        System.out.printf(Locale.ROOT, "%d tenants with %d versions each were published in %.1f s%n", tenants, VERSIONS,
                (System.nanoTime() - start) / 1e9);
        return new Grown(store, tenants, new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    }

    private void publish(DeltaRegistry store, String tenant) {
        DeltaManifest draft = Deltas.draft("faq", 16);
        store.publish(tenant, "base", "faq", draft, blocks, base);
    }

    /** What a database has read once it keeps while there is room: a server that has been up for a while, not one just started. */
    private static void read(Grown grown) {
        for (int tenant = 0; tenant < grown.tenants(); tenant++) {
            grown.store().page("tenant-" + tenant, VersionFilter.ALL, Optional.empty(), VERSIONS);
            grown.store().resolve("tenant-" + tenant, "base:faq@production");
        }
    }

    private void measure(Grown grown, SplittableRandom random, int round) {
        String tenant = "tenant-" + random.nextInt(grown.tenants());
        grown.list().add(time(() -> grown.store().page(tenant, VersionFilter.ALL, Optional.empty(), VERSIONS)));
        grown.resolve().add(time(() -> grown.store().resolve(tenant, "base:faq@production")));
        if (round % ROUNDS_A_PUBLISH == 0) {
            // New tenants, so that the few do not get longer lists than the many.
            String newcomer = "newcomer-" + random.nextInt(1_000_000_000);
            grown.publish().add(time(() -> publish(grown.store(), newcomer)));
        }
    }

    private static double time(Runnable operation) {
        long start = System.nanoTime();
        operation.run();
        return (System.nanoTime() - start) / 1e6;
    }
}
