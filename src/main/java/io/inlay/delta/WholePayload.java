package io.inlay.delta;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A whole tensor's values as the chunks of a file: one flat run, encoded against the base's values at the same places. */
final class WholePayload {

    /** Values that are compressed together at most: as many as a chunk of 16 blocks of edge 256. */
    static final int CHUNK_VALUES = 1 << 20;

    private WholePayload() {
    }

    static byte[] encode(WholeTensor tensor, WholeTensor base) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (long first = 0; first < tensor.count(); first += CHUNK_VALUES) {
            ChunkFrame.write(out, BlockCodec.encode(values(tensor, first), values(base, first)), 0);
        }
        return out.toByteArray();
    }

    /** Fills memory of the arena. */
    static WholeTensor decode(MemorySegment payload, WholeTensor base, Arena arena, String where) {
        MemorySegment decoded = arena.allocate(2 * base.count(), 64);
        long at = 0;
        for (long first = 0; first < base.count(); first += CHUNK_VALUES) {
            short[] under = values(base, first);
            ChunkFrame chunk = ChunkFrame.read(payload, at, 0, under.length, where, "value " + first);
            short[] values = new short[under.length];
            BlockCodec.decode(chunk.form(), chunk.bytes(), under, values, where);
            MemorySegment.copy(values, 0, decoded, ValueLayout.JAVA_SHORT_UNALIGNED, 2 * first, values.length);
            at = chunk.end();
        }
        ChunkFrame.requireEnd(payload, at, where);
        return new WholeTensor(base.tensor(), base.shape(), decoded);
    }

    private static short[] values(WholeTensor tensor, long first) {
        short[] values = new short[(int) Math.min(CHUNK_VALUES, tensor.count() - first)];
        MemorySegment.copy(tensor.values(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * first, values, 0, values.length);
        return values;
    }
}
