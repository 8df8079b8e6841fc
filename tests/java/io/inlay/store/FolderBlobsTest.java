package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
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
}
