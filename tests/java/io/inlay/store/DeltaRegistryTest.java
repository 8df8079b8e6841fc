package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeltaRegistryTest {

    @TempDir
    private Path root;

    private final Arena arena = Arena.ofShared();
    private final Deltas base = new Deltas(arena, 5).with("w", 64, 64);
    private final List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 5, 1e-3));

    private DeltaVersion publish(DeltaStore store, String tenant, String task) {
        return store.publish(tenant, "base", task, Deltas.draft(task, 16), blocks, base);
    }

    private List<Path> filesOnDisk() throws IOException {
        try (Stream<Path> all = Files.walk(root)) {
            return all.filter(Files::isRegularFile).toList();
        }
    }

    @Test
    void what_is_published_is_found_listed_and_loaded_bit_for_bit_by_another_process_too() {
        DeltaVersion first = publish(Stores.folder(root), "acme", "faq");
        DeltaVersion second = publish(Stores.folder(root), "acme", "faq");
        DeltaStore fresh = Stores.folder(root);
        assertThat(first.number()).isEqualTo(1);
        assertThat(fresh.list("acme")).containsExactly(first, second);
        assertThat(fresh.find("acme", "base", "faq", OptionalInt.empty())).contains(second);
        assertThat(fresh.find("acme", "base", "faq", OptionalInt.of(1))).contains(first);
        assertThat(fresh.find("acme", "base", "faq", OptionalInt.of(3))).isEmpty();
        try (Arena loaded = Arena.ofConfined()) {
            LoadedDelta delta = fresh.load(first, Deltas.FINGERPRINT, base, loaded);
            assertThat(delta.blocks().getFirst().values().mismatch(blocks.getFirst().values())).isEqualTo(-1);
        }
    }

    @Test
    void another_tenant_sees_nothing() {
        DeltaStore store = Stores.folder(root);
        publish(store, "acme", "faq");
        assertThat(store.list("other")).isEmpty();
        assertThat(store.find("other", "base", "faq", OptionalInt.empty())).isEmpty();
    }

    @Test
    void a_deleted_version_is_gone_and_its_number_is_not_given_again() {
        DeltaStore store = Stores.folder(root);
        publish(store, "acme", "faq");
        DeltaVersion second = publish(store, "acme", "faq");
        assertThat(store.delete(second)).isTrue();
        assertThat(store.delete(second)).isFalse();
        assertThat(Stores.folder(root).find("acme", "base", "faq", OptionalInt.of(2))).isEmpty();
        assertThatThrownBy(() -> store.load(second, Deltas.FINGERPRINT, base, arena)).hasMessage("base:faq@2 is no longer there");
        assertThat(publish(store, "acme", "faq").number()).isEqualTo(3);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "..", "../x", "a/b", "a\\b", ".hidden", "a b", "\u0000", "x:y"})
    void names_never_become_paths_unchecked(String name) {
        DeltaStore store = Stores.folder(root);
        assertThatThrownBy(() -> publish(store, "acme", name)).isInstanceOf(Problem.class)
                .hasMessageContaining("task name '" + name + "' is not allowed");
        assertThatThrownBy(() -> publish(store, name, "faq")).isInstanceOf(Problem.class)
                .hasMessageContaining("tenant name '" + name + "' is not allowed");
    }

    @Test
    void publishers_at_the_same_time_get_numbers_of_their_own() throws Exception {
        try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
            List<Callable<Integer>> publishers = new ArrayList<>();
            for (int i = 0; i < 40; i++) {
                publishers.add(() -> publish(Stores.folder(root), "acme", "faq").number());
            }
            List<Integer> numbers = new ArrayList<>();
            for (Future<Integer> each : threads.invokeAll(publishers)) {
                numbers.add(each.get());
            }
            assertThat(numbers).doesNotHaveDuplicates().hasSize(40);
            assertThat(numbers.stream().mapToInt(Integer::intValue).max()).hasValue(40);
        }
        assertThat(filesOnDisk()).allMatch(file -> file.toString().endsWith(".safetensors"));
    }

    @Test
    void a_flipped_bit_in_the_file_is_found_when_it_is_loaded() throws IOException {
        DeltaStore store = Stores.folder(root);
        DeltaVersion version = publish(store, "acme", "faq");
        Path file = root.resolve("acme/base/faq/1.safetensors");
        try (RandomAccessFile bytes = new RandomAccessFile(file.toFile(), "rw")) {
            bytes.seek(bytes.length() - 10);
            int old = bytes.read();
            bytes.seek(bytes.length() - 10);
            bytes.write(old ^ 1);
        }
        assertThatThrownBy(() -> store.load(version, Deltas.FINGERPRINT, base, arena)).isInstanceOf(Problem.class)
                .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
    }

    /** Writes to /dev/full, whose every write fails with the operating system's own "no space left". */
    private static DurableFiles fullDisk() {
        DurableFiles local = DurableFiles.local();
        return new DurableFiles() {
            @Override
            public void write(Path file, List<byte[]> parts) throws IOException {
                local.write(file, parts.subList(0, 1));
                try (var full = Files.newOutputStream(Path.of("/dev/full"))) {
                    full.write(parts.getLast());
                }
            }

            @Override
            public void publish(Path file, Path name) throws IOException {
                local.publish(file, name);
            }
        };
    }

    @Test
    void a_full_disk_is_said_to_be_full_and_nothing_of_the_version_is_left() throws IOException {
        assertThatThrownBy(() -> publish(Stores.folder(root, fullDisk()), "acme", "faq")).isInstanceOf(Problem.class)
                .hasMessage("publishing base:faq failed: the disk is full; free space or delete versions, then try again")
                .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.STORAGE_FULL);
        assertThat(filesOnDisk()).isEmpty();
        assertThat(publish(Stores.folder(root), "acme", "faq").number()).isEqualTo(1);
    }
}
