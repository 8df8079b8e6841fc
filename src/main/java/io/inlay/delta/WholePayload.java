package io.inlay.delta;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** A whole tensor's values as the chunks of a file: one flat run, encoded against the base's values at the same places. */
final class WholePayload {

    /** Values that are compressed together at most: as many as a chunk of 16 blocks of edge 256. */
    static final int CHUNK_VALUES = 1 << 20;

    private WholePayload() {
    }

    static byte[] encode(WholeTensor tensor, WholeTensor base, Codecs codecs) {
        BlockCodec.Chunk[] chunks = new BlockCodec.Chunk[chunks(tensor)];
        InParallel.forEach(chunks.length, chunk -> chunks[chunk] = codecs.with(codec -> {
            long first = (long) chunk * CHUNK_VALUES;
            int n = length(tensor, first);
            return codec.encode(copy(tensor, first, codec.values(n)), copy(base, first, codec.base(n)));
        }));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (BlockCodec.Chunk chunk : chunks) {
            ChunkFrame.write(out, chunk, 0);
        }
        return out.toByteArray();
    }

    /** Fills {@code values}, as many as the base's tensor has. All frames are checked before the first is decoded. */
    static void decode(MemorySegment payload, WholeTensor base, MemorySegment values, Codecs codecs, String where) {
        List<ChunkFrame> frames = new ArrayList<>();
        long at = 0;
        for (long first = 0; first < base.count(); first += CHUNK_VALUES) {
            frames.add(ChunkFrame.read(payload, at, 0, length(base, first), where, "value " + first));
            at = frames.getLast().end();
        }
        ChunkFrame.requireEnd(payload, at, where);
        InParallel.forEach(frames.size(), chunk -> codecs.with(codec -> {
            long first = (long) chunk * CHUNK_VALUES;
            int n = length(base, first);
            short[] decoded = codec.values(n);
            frames.get(chunk).decode(codec, payload, copy(base, first, codec.base(n)), decoded, where);
            MemorySegment.copy(decoded, 0, values, ValueLayout.JAVA_SHORT_UNALIGNED, 2 * first, n);
            return null;
        }));
    }

    private static int chunks(WholeTensor tensor) {
        return Math.toIntExact(Math.ceilDiv(tensor.count(), CHUNK_VALUES));
    }

    private static int length(WholeTensor tensor, long first) {
        return (int) Math.min(CHUNK_VALUES, tensor.count() - first);
    }

    private static short[] copy(WholeTensor tensor, long first, short[] to) {
        MemorySegment.copy(tensor.values(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * first, to, 0, to.length);
        return to;
    }
}
