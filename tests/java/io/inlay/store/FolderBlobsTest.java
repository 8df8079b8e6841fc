package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderBlobsTest implements BlobsContract {

    @TempDir
    private Path root;

    @Override
    public Blobs blobs() {
        return Blobs.folder(root);
    }

    @Test
    void a_key_cannot_leave_the_folder() {
        assertThatThrownBy(() -> blobs().putIfAbsent("../outside", List.of())).hasMessage("key '../outside' leaves the store's folder");
    }

    @Test
    void what_a_dead_writer_left_is_swept_once_it_is_old_enough() throws Exception {
        Files.createDirectories(root.resolve("a/b/c"));
        Path left = Files.writeString(root.resolve("a/b/c/.publishing-1"), "half");
        assertThat(blobs().list("")).isEmpty();
        assertThat(blobs().sweep(Duration.ofHours(1))).isZero();
        assertThat(left).exists();
        assertThat(blobs().sweep(Duration.ZERO)).isEqualTo(1);
        assertThat(left).doesNotExist();
    }

    /** s3proxy looks and then writes, so only Amazon could be asked the same; no publisher relies on it, since rows give out the numbers. */
    @Test
    void of_those_who_put_the_same_key_at_the_same_time_one_wins() throws Exception {
        Blobs blobs = blobs();
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            for (int round = 0; round < 5; round++) {
                String key = "a/b/c/" + (round + 1) + ".safetensors";
                List<Callable<Integer>> writers = new ArrayList<>();
                for (int i = 0; i < 4; i++) {
                    int writer = i;
                    writers.add(() -> blobs.putIfAbsent(key, BlobsContract.parts("writer ", Integer.toString(writer))) ? writer : -1);
                }
                List<Integer> winners = new ArrayList<>();
                for (Future<Integer> each : threads.invokeAll(writers)) {
                    if (each.get() >= 0) {
                        winners.add(each.get());
                    }
                }
                assertThat(winners).hasSize(1);
                assertThat(BlobsContract.text(blobs, key, Optional.empty())).contains("writer " + winners.getFirst());
            }
        }
    }
}
