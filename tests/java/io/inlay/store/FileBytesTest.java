package io.inlay.store;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileBytesTest {

    @TempDir
    private Path root;

    @Test
    void a_file_of_several_pieces_is_read_byte_for_byte() throws IOException {
        byte[] bytes = new byte[(9 << 20) + 5];
        new Random(1).nextBytes(bytes);
        Path file = Files.write(root.resolve("f"), bytes);
        try (Arena arena = Arena.ofShared()) {
            assertThat(FileBytes.read(file, arena).mismatch(MemorySegment.ofArray(bytes))).isEqualTo(-1);
        }
    }

    @Test
    void a_file_that_gets_shorter_while_it_is_read_is_refused() throws IOException {
        Path file = Files.write(root.resolve("f"), new byte[1000]);
        try (Arena arena = Arena.ofShared(); FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            assertThatThrownBy(() -> FileBytes.read(file, channel, 2000, arena)).isInstanceOf(Problem.class)
                    .hasMessage(file + " got shorter while it was read, at byte 1000; something else writes to it, restore it from a copy");
        }
    }

    @Test
    void a_version_whose_file_another_process_cuts_and_mends_all_the_time_is_refused_or_loaded_right() throws Exception {
        try (Arena arena = Arena.ofShared()) {
            Deltas base = new Deltas(arena, 5).with("w", 512, 512);
            List<TensorBlocks> blocks = List.of(base.tuned("w", 16, 600, 1e-3));
            DeltaVersion version = Stores.folder(root).publish("acme", "base", "faq", Deltas.draft("faq", 16), blocks, base);
            Path file = root.resolve("acme/base/faq/1.safetensors");
            byte[] whole = Files.readAllBytes(file);
            AtomicBoolean stop = new AtomicBoolean();
            Thread vandal = Thread.ofPlatform().start(() -> {
                Random random = new Random(2);
                while (!stop.get()) {
                    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                        channel.truncate(random.nextInt(whole.length));
                        channel.write(java.nio.ByteBuffer.wrap(whole), 0);
                    } catch (IOException failure) {
                        throw new java.io.UncheckedIOException(failure);
                    }
                }
            });
            int refused = 0;
            for (int i = 0; i < 300; i++) {
                try (Arena loaded = Arena.ofConfined()) {
                    LoadedDelta delta = Stores.folder(root).load(version, Deltas.FINGERPRINT, base, loaded);
                    assertThat(delta.blocks().getFirst().values().mismatch(blocks.getFirst().values())).isEqualTo(-1);
                } catch (Problem cut) {
                    assertThat(cut.code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
                    refused++;
                }
            }
            stop.set(true);
            vandal.join();
            assertThat(refused).isPositive();
            try (Arena loaded = Arena.ofConfined()) {
                assertThat(Stores.folder(root).load(version, Deltas.FINGERPRINT, base, loaded).blocks()).hasSize(1);
            }
        }
    }
}
