package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Every single operation of an erasure goes wrong once; then the store is opened again, and the erasure finished. */
class ErasureFaultsTest {

    private static final int NONE = Integer.MAX_VALUE;
    private static final Aliases.Task FAQ = new Aliases.Task("acme", "base", "faq");

    @TempDir
    private Path root;
    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 64, 64);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));

    private static DeltaRegistry store(Path folder, DataSource source, FaultyDisk disk) {
        return new DeltaRegistry(new FolderBlobs(folder, DurableFiles.over(disk)), disk.database(source));
    }

    private DeltaVersion publish(DeltaRegistry store, String tenant) {
        return store.publish(tenant, "base", "faq", Deltas.draft("faq", 16), blocks, base);
    }

    /** Two versions and an alias of one tenant, a version of another; returns the digests of the first one's files. */
    private List<String> fill(Path folder, DataSource source) {
        DeltaRegistry store = store(folder, source, new FaultyDisk(FaultyDisk.Fault.FAIL, NONE));
        List<String> digests = List.of(publish(store, "acme").fileDigest(), publish(store, "acme").fileDigest());
        store.aliases().move(FAQ, "production", 1, OptionalInt.empty());
        publish(store, "other");
        return digests;
    }

    private static void erase(Path folder, DataSource source, FaultyDisk disk) {
        try {
            store(folder, source, disk).collector(Duration.ofHours(1)).eraseForGood("acme");
        } catch (Problem | FaultyDisk.PowerOff fault) {
            assertThat(fault).hasMessageMatching("(?s).*(Input/output error|the power is off).*");
        }
    }

    @ParameterizedTest
    @EnumSource(FaultyDisk.Fault.class)
    void an_erasure_that_any_fault_cuts_short_is_finished_by_the_next_start_with_the_same_receipt(FaultyDisk.Fault fault) throws Exception {
        Path healthy = root.resolve("healthy");
        DataSource first = Stores.tables(fault + healthy.toString());
        fill(healthy, first);
        FaultyDisk counted = new FaultyDisk(fault, NONE);
        erase(healthy, first, counted);
        assertThat(counted.operations()).isGreaterThan(8);
        for (int victim = 0; victim < counted.operations(); victim++) {
            Path folder = root.resolve(fault + "-" + victim);
            DataSource source = Stores.tables(folder.toString());
            List<String> digests = fill(folder, source);
            erase(folder, source, new FaultyDisk(fault, victim));

            String what = fault + " of operation " + victim;
            DeltaRegistry store = store(folder, source, new FaultyDisk(fault, NONE));
            DeltaCollector collector = store.collector(Duration.ofHours(1));
            boolean begun = store.list("acme").isEmpty();
            collector.finishErasures();
            assertThat(collector.receipt("acme").isPresent()).as(what).isEqualTo(begun);
            DeltaCollector.Receipt receipt = collector.eraseForGood("acme");
            assertThat(receipt.fileDigests()).as(what).isEqualTo(digests);
            assertThat(receipt.versions()).as(what).isEqualTo(2);
            assertThat(collector.eraseForGood("acme")).as(what).isEqualTo(receipt);
            assertThat(filesOf(folder, "acme")).as(what).isZero();
            assertThat(filesOf(folder, "other")).as(what).isOne();
            assertThat(store.aliases().history(FAQ, "production")).as(what).isEmpty();
            assertThat(store.usage("acme")).as(what).isEqualTo(new Usage(0, 0));
            assertThat(store.find("other", "base", "faq", OptionalInt.of(1))).as(what).isPresent();
            assertThatThrownBy(() -> publish(store, "acme")).as(what).isInstanceOf(Problem.class)
                    .hasMessage("all of tenant acme was erased for good; it stores nothing more");
            assertThat(store(folder, source, new FaultyDisk(fault, NONE)).list("acme")).as(what).isEmpty();
        }
    }

    private static long filesOf(Path folder, String tenant) throws Exception {
        Path own = folder.resolve(tenant);
        if (!Files.isDirectory(own)) {
            return 0;
        }
        try (Stream<Path> all = Files.walk(own)) {
            return all.filter(Files::isRegularFile).count();
        }
    }

    @Test
    void a_tenant_that_erased_its_own_versions_publishes_again_only_once_all_are_gone() throws Exception {
        FaultyDisk.Fault fault = FaultyDisk.Fault.POWER_OFF_BEFORE;
        Path folder = root.resolve("own");
        DataSource source = Stores.tables(folder.toString());
        fill(folder, source);
        // Power goes one operation later each time, until the versions are hidden and their files are still there.
        int hidden = 0;
        while (true) {
            try {
                store(folder, source, new FaultyDisk(fault, hidden)).collector(Duration.ofHours(1)).erase("acme");
            } catch (FaultyDisk.PowerOff off) {
                if (store(folder, source, new FaultyDisk(fault, NONE)).list("acme").isEmpty()) {
                    break;
                }
            }
            hidden++;
        }
        DeltaRegistry store = store(folder, source, new FaultyDisk(fault, NONE));
        assertThatThrownBy(() -> publish(store, "acme")).isInstanceOf(Problem.class)
                .hasMessage("all of tenant acme is being erased; try again in a moment");
        store.collector(Duration.ofHours(1)).finishErasures();
        assertThat(store.collector(Duration.ZERO).receipt("acme").map(DeltaCollector.Receipt::versions)).isEqualTo(Optional.of(2));
        assertThat(publish(store, "acme").number()).isEqualTo(1);
    }
}
