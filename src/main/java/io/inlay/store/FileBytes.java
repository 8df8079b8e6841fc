package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.InParallel;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Files that are not to be trusted, copied into memory and not mapped: a mapped file that another process cuts short faults wherever it is
 * touched next, in zstd's code as a SIGBUS that ends the JVM. A copy costs some hundredths of a second for a hundred megabytes, is read by
 * several threads at once, and what was checked is what is used.
 */
public final class FileBytes {

    private static final long PIECE = 4 << 20;

    private FileBytes() {
    }

    /** The first bytes of a file: a safetensors header whole where there is one. */
    record Beginning(MemorySegment bytes, long fileBytes) {
    }

    /**
     * The whole file in memory of the arena, which must be open to all threads.
     *
     * @throws Problem {@code CORRUPT_DELTA} when the file gets shorter meanwhile
     */
    public static MemorySegment read(Path file, Arena arena) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            return read(file, channel, channel.size(), arena);
        }
    }

    static MemorySegment read(Path file, FileChannel channel, long size, Arena arena) throws IOException {
        MemorySegment bytes = arena.allocate(size, 64);
        try {
            InParallel.forEach(Math.toIntExact(Math.ceilDiv(size, PIECE)), piece -> {
                long at = piece * PIECE;
                fill(file, channel, at, bytes.asSlice(at, Math.min(PIECE, size - at)));
            });
        } catch (UncheckedIOException failure) {
            throw failure.getCause();
        }
        return bytes;
    }

    /** The header's length and as much as it states, or all of a shorter file. */
    static Beginning header(Path file, Arena arena) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long size = channel.size();
            MemorySegment length = arena.allocate(Math.min(8, size), 8);
            fill(file, channel, 0, length);
            long stated = size < 8 ? 0 : length.asByteBuffer().order(ByteOrder.LITTLE_ENDIAN).getLong();
            // What states more than there is, or less than nothing, is refused by its statement alone.
            long wanted = stated < 0 || stated > size - 8 ? Math.min(8, size) : 8 + stated;
            MemorySegment bytes = arena.allocate(wanted, 8);
            fill(file, channel, 0, bytes);
            return new Beginning(bytes, size);
        } catch (UncheckedIOException failure) {
            throw failure.getCause();
        }
    }

    private static void fill(Path file, FileChannel channel, long from, MemorySegment target) {
        ByteBuffer buffer = target.asByteBuffer();
        try {
            while (buffer.hasRemaining()) {
                if (channel.read(buffer, from + buffer.position()) < 0) {
                    throw new Problem(Problem.Code.CORRUPT_DELTA, file + " got shorter while it was read, at byte "
                            + (from + buffer.position()) + "; something else writes to it, restore it from a copy");
                }
            }
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
