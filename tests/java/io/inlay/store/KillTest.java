package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
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
import javax.sql.DataSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KillTest {

    private static final int LANES = 4;
    private static final int KILLS_A_LANE = 50;

    /** A machine that is busy with something else does not get through all of them. */
    private static final long PATIENCE_NANOS = 60_000_000_000L;

    @TempDir
    private Path root;

    private static DataSource database(Path folder) {
        return Stores.h2("jdbc:h2:file:" + folder.resolve("registry") + ";WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE");
    }

    @Test
    void of_up_to_200_publishers_killed_at_random_moments_nothing_acknowledged_is_lost_and_no_version_is_half() throws Exception {
        List<Callable<Integer>> lanes = new ArrayList<>();
        for (int lane = 0; lane < LANES; lane++) {
            int seed = lane;
            lanes.add(() -> killOneAfterAnother(root.resolve("lane" + seed).toAbsolutePath(), new SplittableRandom(seed)));
        }
        int acknowledged = 0;
        try (ExecutorService threads = Executors.newFixedThreadPool(LANES)) {
            for (Future<Integer> lane : threads.invokeAll(lanes)) {
                acknowledged += lane.get();
            }
        }
        assertThat(acknowledged).isGreaterThan(LANES);
    }

    private static int killOneAfterAnother(Path folder, SplittableRandom random) throws Exception {
        Stores.migrated(database(folder));
        Set<Integer> acknowledged = new HashSet<>();
        long end = System.nanoTime() + PATIENCE_NANOS;
        for (int kill = 0; kill < KILLS_A_LANE && System.nanoTime() < end; kill++) {
            Process publisher = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "--enable-native-access=ALL-UNNAMED", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m", "-cp",
                    System.getProperty("java.class.path"), PublishForever.class.getName(), folder.toString())
                    .redirectError(ProcessBuilder.Redirect.DISCARD).start();
            try (BufferedReader lines = publisher.inputReader()) {
                String line = lines.readLine();
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
            publisher.waitFor();
        }
        return check(folder, acknowledged);
    }

    private static int check(Path folder, Set<Integer> acknowledged) {
        DataSource source = database(folder);
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

    /** A process that publishes until it is killed, and says each number once it has it. */
    static final class PublishForever {

        private PublishForever() {
        }

        public static void main(String[] arguments) {
            Path folder = Path.of(arguments[0]);
            Deltas base = new Deltas(Arena.ofShared(), 5).with("w", 64, 64);
            List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));
            DeltaRegistry store = new DeltaRegistry(Blobs.folder(folder.resolve("files")), database(folder));
            while (true) {
                System.out.println(store.publish("acme", "base", "faq", Deltas.draft("faq", 16), blocks, base).number());
                System.out.flush();
            }
        }
    }
}
