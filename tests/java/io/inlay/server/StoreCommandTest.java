package io.inlay.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.Deltas;
import io.inlay.store.Blobs;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.flywaydb.core.Flyway;
import org.h2.jdbcx.JdbcDataSource;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code ./inlay store verify} finds, and its exit code. */
class StoreCommandTest {

    @TempDir
    private Path folder;

    private DeltaVersion publish() throws IOException {
        JdbcDataSource source = new JdbcDataSource();
        Files.createDirectories(folder.resolve("data"));
        source.setURL("jdbc:h2:file:" + folder.resolve("data/inlay"));
        source.setUser("inlay");
        source.setPassword("inlay");
        Flyway.configure().dataSource(source).locations("filesystem:src/main/resources/db/migration").load().migrate();
        try (Arena arena = Arena.ofShared()) {
            Deltas base = new Deltas(arena, 5).with("w", 64, 64);
            return new DeltaRegistry(Blobs.folder(folder.resolve("store")), source).publish("acme", "base", "faq", Deltas.draft("faq", 16),
                    List.of(base.tuned("w", 16, 5, 1e-3)), base);
        }
    }

    private int verify() {
        return StoreCommand.verify(folder.resolve("store"), folder.resolve("data"));
    }

    @Test
    void a_whole_store_is_found_whole() throws IOException {
        publish();
        assertThat(verify()).isZero();
    }

    @Test
    void one_flipped_bit_anywhere_in_a_file_is_found() throws IOException {
        publish();
        Path file = folder.resolve("store/acme/base/faq/1.safetensors");
        byte[] whole = Files.readAllBytes(file);
        for (int at : new int[] {0, 9, whole.length / 2, whole.length - 1}) {
            byte[] damaged = whole.clone();
            damaged[at] ^= 1;
            Files.write(file, damaged);
            assertThat(verify()).as("bit of byte %d", at).isEqualTo(1);
        }
        Files.write(file, whole);
        assertThat(verify()).isZero();
        Files.delete(file);
        assertThat(verify()).as("a file that is gone").isEqualTo(1);
    }

    @Test
    void a_folder_without_a_database_is_not_called_whole() {
        assertThat(verify()).isEqualTo(2);
    }
}
