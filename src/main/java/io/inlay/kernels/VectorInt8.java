package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * {@link VectorKernels}' linears over int8 weights. An output's bytes become floats once for all rows of x. The sum of a row without blocks
 * of that output is one {@link Lanes#dot} of all of K; else there is one for each block's width, bytes and blocks added up apart.
 */
final class VectorInt8 {

    private final Int8Weight w;
    private final List<TileTable> tiles;
    private final Tensor y;
    private final float[][] rows;
    private final boolean bf16;

    VectorInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        this.w = w;
        this.tiles = tiles;
        this.y = y;
        this.bf16 = x.dtype() == DType.BF16;
        this.rows = new float[x.dim(0)][x.dim(1)];
        for (int m = 0; m < rows.length; m++) {
            Lanes.load(x, m * x.stride(0), rows[m], x.dim(1));
        }
    }

    /** Outputs [begin, end) for all rows of x. */
    void run(int begin, int end) {
        Floats ys = Floats.of(y);
        int inner = w.values().dim(1);
        float[] weights = new float[inner];
        byte[] bytes = new byte[inner];
        for (int o = begin; o < end; o++) {
            load(w, o, bytes, weights);
            float scale = w.scales().segment().getAtIndex(ValueLayout.JAVA_FLOAT, o);
            for (int m = 0; m < rows.length; m++) {
                TileTable table = tiles == null ? null : tiles.get(m);
                float result = hasBlocks(table, o) ? withBlocks(table, o, weights, rows[m], scale)
                        : scale * Lanes.dot(weights, 0, rows[m], inner);
                ys.set(m * y.stride(0) + o, result);
            }
        }
    }

    private float withBlocks(TileTable table, int o, float[] weights, float[] x, float scale) {
        int edge = table.edge();
        float[] inputs = new float[edge];
        float[] block = new float[edge];
        float bytes = 0;
        float blocks = 0;
        for (int start = 0; start < x.length; start += edge) {
            System.arraycopy(x, start, inputs, 0, edge);
            MemorySegment row = row(table, o, start);
            if (row == null) {
                bytes += Lanes.dot(weights, start, inputs, edge);
            } else {
                Lanes.load(row, bf16, 0, block, 0, edge);
                blocks += Lanes.dot(block, 0, inputs, edge);
            }
        }
        return Math.fma(scale, bytes, blocks);
    }

    private static boolean hasBlocks(TileTable table, int o) {
        for (int column = 0; table != null && column < table.columns() / table.edge(); column++) {
            if (table.pointer(o / table.edge(), column) != 0) {
                return true;
            }
        }
        return false;
    }

    /** Output o's values in the block that begins at input {@code start}, or null where there is none. */
    private static MemorySegment row(TileTable table, int o, int start) {
        long pointer = table.pointer(o / table.edge(), start / table.edge());
        long bytes = (long) table.edge() * table.elementBytes();
        return pointer == 0 ? null : MemorySegment.ofAddress(pointer + o % table.edge() * bytes).reinterpret(bytes);
    }

    private static void load(Int8Weight w, int o, byte[] bytes, float[] to) {
        MemorySegment.copy(w.values().segment(), ValueLayout.JAVA_BYTE, o * w.values().stride(0), bytes, 0, bytes.length);
        for (int k = 0; k < bytes.length; k++) {
            to[k] = bytes[k];
        }
    }

    static void dequantise(Int8Weight w, TileTable tiles, Tensor out, int begin, int end) {
        int inner = out.dim(1);
        int element = out.dtype().bytes();
        float[] weights = new float[inner];
        byte[] bytes = new byte[inner];
        for (int o = begin; o < end; o++) {
            load(w, o, bytes, weights);
            float scale = w.scales().segment().getAtIndex(ValueLayout.JAVA_FLOAT, o);
            for (int k = 0; k < inner; k++) {
                weights[k] *= scale;
            }
            Lanes.store(weights, out, o * out.stride(0), inner);
            for (int start = 0; tiles != null && start < inner; start += tiles.edge()) {
                MemorySegment row = row(tiles, o, start);
                if (row != null) {
                    MemorySegment.copy(row, 0, out.segment(), (o * out.stride(0) + start) * element, row.byteSize());
                }
            }
        }
    }
}
