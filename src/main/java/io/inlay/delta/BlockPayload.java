package io.inlay.delta;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** A matrix's blocks as the chunks of a file, encoded against the base's values at the same places. Chunks are independent of each other. */
final class BlockPayload {

    /** Blocks that are compressed together at most. */
    static final int CHUNK_BLOCKS = 16;

    private BlockPayload() {
    }

    static byte[] encode(TensorBlocks blocks, BaseMatrices.Matrix base, Codecs codecs) {
        int square = blocks.edge() * blocks.edge();
        List<BlockCoordinate> coordinates = blocks.coordinates();
        BlockCodec.Chunk[] chunks = new BlockCodec.Chunk[Math.ceilDiv(coordinates.size(), CHUNK_BLOCKS)];
        InParallel.forEach(chunks.length, chunk -> chunks[chunk] = codecs.with(codec -> {
            int first = chunk * CHUNK_BLOCKS;
            int length = length(coordinates, first);
            short[] values = codec.values(length * square);
            MemorySegment.copy(blocks.values(), ValueLayout.JAVA_SHORT_UNALIGNED, 2L * first * square, values, 0, values.length);
            return codec.encode(values, baseValues(codec, base, coordinates, first, length, blocks.edge()));
        }));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int chunk = 0; chunk < chunks.length; chunk++) {
            ChunkFrame.write(out, chunks[chunk], length(coordinates, chunk * CHUNK_BLOCKS));
        }
        return out.toByteArray();
    }

    /** Fills {@code values}, [n, edge, edge]. All frames are checked before the first is decoded. */
    static void decode(MemorySegment payload, List<BlockCoordinate> coordinates, BaseMatrices.Matrix base, int edge, MemorySegment values,
            Codecs codecs, String where) {
        int square = edge * edge;
        List<ChunkFrame> frames = new ArrayList<>();
        long at = 0;
        for (int first = 0; first < coordinates.size(); first += CHUNK_BLOCKS) {
            int length = length(coordinates, first);
            frames.add(ChunkFrame.read(payload, at, length, (long) length * square, where, "block " + first));
            at = frames.getLast().end();
        }
        ChunkFrame.requireEnd(payload, at, where);
        InParallel.forEach(frames.size(), chunk -> codecs.with(codec -> {
            int first = chunk * CHUNK_BLOCKS;
            int length = length(coordinates, first);
            short[] decoded = codec.values(length * square);
            frames.get(chunk).decode(codec, payload, baseValues(codec, base, coordinates, first, length, edge), decoded, where);
            MemorySegment.copy(decoded, 0, values, ValueLayout.JAVA_SHORT_UNALIGNED, 2L * first * square, decoded.length);
            return null;
        }));
    }

    private static int length(List<BlockCoordinate> coordinates, int first) {
        return Math.min(CHUNK_BLOCKS, coordinates.size() - first);
    }

    private static short[] baseValues(BlockCodec codec, BaseMatrices.Matrix base, List<BlockCoordinate> coordinates, int first, int length,
            int edge) {
        short[] values = codec.base(length * edge * edge);
        for (int k = 0; k < length; k++) {
            BlockCoordinate at = coordinates.get(first + k);
            for (int row = 0; row < edge; row++) {
                long source = ((long) at.row() * edge + row) * base.columns() + (long) at.column() * edge;
                MemorySegment.copy(base.bits(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * source, values, (k * edge + row) * edge, edge);
            }
        }
        return values;
    }
}
