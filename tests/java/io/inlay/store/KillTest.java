package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import javax.sql.DataSource;
import org.h2.jdbcx.JdbcDataSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class KillTest {

    private static final int LANES = 4;
    private static final int KILLS_A_LANE = 50;

    /** 128 and the number of the signal. */
    private static final int KILLED = 128 + 9;

    @TempDir
    private Path root;
    private final AtomicInteger kills = new AtomicInteger();

    @Test
    @Timeout(600)
    void of_200_publishers_killed_at_random_moments_nothing_acknowledged_is_lost_and_no_version_is_half() throws Exception {
        QuickJvm jvm = QuickJvm.trained(root.toAbsolutePath(), PublishForever.class,
                root.resolve("trained").toAbsolutePath().toString(), "3");
        List<Callable<Integer>> lanes = new ArrayList<>();
        for (int lane = 0; lane < LANES; lane++) {
            int seed = lane;
            lanes.add(() -> killOneAfterAnother(jvm, root.resolve("lane" + seed).toAbsolutePath(), new SplittableRandom(seed)));
        }
        int acknowledged = 0;
        try (ExecutorService threads = Executors.newFixedThreadPool(LANES)) {
            for (Future<Integer> lane : threads.invokeAll(lanes)) {
                acknowledged += lane.get();
            }
        }
        assertThat(kills).hasValue(200);
        assertThat(acknowledged).isGreaterThanOrEqualTo(200);
    }

    private int killOneAfterAnother(QuickJvm jvm, Path folder, SplittableRandom random) throws Exception {
        Stores.migrated(PublishForever.database(folder));
        Set<Integer> acknowledged = new HashSet<>();
        for (int kill = 0; kill < KILLS_A_LANE; kill++) {
            Process publisher = jvm.start(folder.toString(), Integer.toString(Integer.MAX_VALUE));
            try (BufferedReader lines = publisher.inputReader()) {
                String line = lines.readLine();
                assertThat(line).as("the first number of publisher %d of %s", kill, folder).isNotNull();
                acknowledged.add(Integer.parseInt(line));
                long until = System.nanoTime() + random.nextLong(30_000_000);
                while (System.nanoTime() < until) {
                    if (lines.ready()) {
                        acknowledged.add(Integer.parseInt(lines.readLine()));
                    }
                }
                publisher.toHandle().destroyForcibly();
                // What it had said before it was killed counts too.
                while ((line = lines.readLine()) != null && line.matches("[0-9]+")) {
                    acknowledged.add(Integer.parseInt(line));
                }
            } catch (IOException closed) {
                assertThat(closed).hasMessage("Stream closed");
            }
            assertThat(publisher.waitFor()).as("how publisher %d of %s ended", kill, folder).isEqualTo(KILLED);
            kills.incrementAndGet();
        }
        return check(folder, acknowledged);
    }

    private static int check(Path folder, Set<Integer> acknowledged) throws SQLException {
        DataSource source = PublishForever.database(folder);
        // An open connection keeps the database from being closed and opened between any two transactions.
        try (Connection _ = source.getConnection()) {
            return check(folder, source, acknowledged);
        }
    }

    private static int check(Path folder, DataSource source, Set<Integer> acknowledged) {
        DeltaRegistry store = new DeltaRegistry(Blobs.folder(folder.resolve("files")), source);
        store.collector(Duration.ZERO).collect();
        assertThat(store.list("acme")).extracting(DeltaVersion::number).containsAll(acknowledged);
        StoreVerification.Report report = new StoreVerification(Blobs.folder(folder.resolve("files")), source).run();
        assertThat(report.damaged()).isEmpty();
        assertThat(report.unknown()).isEmpty();
        try (Arena arena = Arena.ofConfined()) {
            Deltas base = new Deltas(arena, 5).with("w", 64, 64);
            for (DeltaVersion version : store.list("acme")) {
                store.load(version, Deltas.FINGERPRINT, base, arena);
            }
        }
        return acknowledged.size();
    }

    /** A process that publishes so many versions, or until it is killed, and says each number once it has it. */
    static final class PublishForever {

        private PublishForever() {
        }

        static JdbcDataSource database(Path folder) {
            JdbcDataSource source = new JdbcDataSource();
            source.setURL("jdbc:h2:file:" + folder.resolve("registry") + ";WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE");
            return source;
        }

        public static void main(String[] arguments) {
            Path folder = Path.of(arguments[0]);
            Deltas base = new Deltas(Arena.ofShared(), 5).with("w", 64, 64);
            List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));
            // As a server's pool does, this keeps the database open.
            JdbcDataSource source = database(folder);
            source.setURL(source.getURL() + ";DB_CLOSE_DELAY=-1");
            DeltaRegistry store = new DeltaRegistry(Blobs.folder(folder.resolve("files")), source);
            for (int left = Integer.parseInt(arguments[1]); left > 0; left--) {
                System.out.println(store.publish("acme", "base", "faq", Deltas.draft("faq", 16), blocks, base).number());
                System.out.flush();
            }
        }
    }
}
