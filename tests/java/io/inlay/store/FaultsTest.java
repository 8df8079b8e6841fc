package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Every single operation of a publication and a deletion goes wrong once; then the store is opened again, and collected. */
class FaultsTest {

    private static final int NONE = Integer.MAX_VALUE;

    @TempDir
    private Path root;
    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 64, 64);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));

    private DeltaVersion publish(DeltaRegistry store, String task) {
        return store.publish("acme", "base", task, Deltas.draft(task, 16), blocks, base);
    }

    private static DeltaRegistry store(Path folder, DataSource source, FaultyDisk disk) {
        return new DeltaRegistry(new FolderBlobs(folder, DurableFiles.over(disk)), disk.database(source));
    }

    /** What a publisher does until something goes wrong: publishes twice, and deletes the first. Returns what was acknowledged. */
    private List<String> work(Path folder, DataSource source, FaultyDisk disk, List<String> deleted) {
        List<String> acknowledged = new ArrayList<>();
        try {
            DeltaRegistry store = store(folder, source, disk);
            DeltaVersion first = publish(store, "faq");
            acknowledged.add(first.model());
            acknowledged.add(publish(store, "faq").model());
            // Once a deletion has begun nothing is promised of the version but that it is whole or gone.
            acknowledged.remove(first.model());
            store.delete(first);
            deleted.add(first.model());
        } catch (Problem | FaultyDisk.PowerOff fault) {
            assertThat(fault).hasMessageMatching("(?s).*(Input/output error|the power is off).*");
        }
        return acknowledged;
    }

    @ParameterizedTest
    @EnumSource(FaultyDisk.Fault.class)
    void after_any_fault_a_restart_finds_what_was_acknowledged_whole_and_nothing_half_and_collects_the_rest(FaultyDisk.Fault fault)
            throws Exception {
        FaultyDisk healthy = new FaultyDisk(fault, NONE);
        work(root.resolve("healthy"), Stores.tables(fault + "healthy" + root), healthy, new ArrayList<>());
        assertThat(healthy.operations()).isGreaterThan(20);
        for (int victim = 0; victim < healthy.operations(); victim++) {
            Path folder = root.resolve(fault + "-" + victim);
            DataSource source = Stores.tables(folder.toString());
            List<String> deleted = new ArrayList<>();
            List<String> acknowledged = work(folder, source, new FaultyDisk(fault, victim), deleted);

            FaultyDisk restarted = new FaultyDisk(fault, NONE);
            DeltaRegistry store = store(folder, source, restarted);
            store.collector(Duration.ZERO).collect();
            List<DeltaVersion> versions = store.list("acme");
            String what = fault + " of operation " + victim;
            assertThat(versions.stream().map(DeltaVersion::model)).as(what).containsAll(acknowledged).noneMatch(deleted::contains);
            for (DeltaVersion version : versions) {
                try (Arena loaded = Arena.ofConfined()) {
                    assertThat(store.load(version, Deltas.FINGERPRINT, base, loaded).blocks().getFirst().values()
                            .mismatch(blocks.getFirst().values())).as(what).isEqualTo(-1);
                }
            }
            StoreVerification.Report report = new StoreVerification(Blobs.folder(folder), source).run();
            assertThat(report.damaged()).as(what).isEmpty();
            assertThat(files(folder)).as(what).isEqualTo(versions.size());
            assertThat(store.usage("acme").versions()).as(what).isEqualTo(versions.size());
            assertThat(publish(store, "faq").number()).as(what).isLessThanOrEqualTo(4);
        }
    }

    private static long files(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return 0;
        }
        try (Stream<Path> all = Files.walk(folder)) {
            return all.filter(Files::isRegularFile).count();
        }
    }
}
