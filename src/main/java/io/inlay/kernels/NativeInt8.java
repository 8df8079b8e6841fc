package io.inlay.kernels;

import static java.lang.foreign.MemorySegment.NULL;

import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/** {@link NativeKernels}' linears over int8 weights: the calls into kernels/cpu/linear_int8.c. */
record NativeInt8(MethodHandle linear, MethodHandle dequantise) {

    /** Rows that one call takes: the bits of a mask. */
    private static final int MOST_ROWS = 32;

    void linear(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        for (int first = 0; first < x.dim(0); first += MOST_ROWS) {
            int rows = Math.min(MOST_ROWS, x.dim(0) - first);
            List<TileTable> some = tiles == null ? null : tiles.subList(first, first + rows);
            try (Scope scope = new Scope(x.torch())) {
                few(x.narrow(scope, 0, first, rows), w, some, y.narrow(scope, 0, first, rows));
            }
        }
    }

    private void few(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        long edge = tiles == null ? 0 : TileTable.divisorOfEdges(tiles);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment tables = edge == 0 ? NULL : arena.allocate(ValueLayout.JAVA_LONG, tiles.size());
            MemorySegment edges = edge == 0 ? NULL : arena.allocate(ValueLayout.JAVA_LONG, tiles.size());
            for (int m = 0; edge > 0 && m < tiles.size(); m++) {
                TileTable each = tiles.get(m);
                tables.setAtIndex(ValueLayout.JAVA_LONG, m, each == null ? 0 : each.pointers().address());
                edges.setAtIndex(ValueLayout.JAVA_LONG, m, each == null ? edge : each.edge());
            }
            NativeKernels.call(() -> {
                linear.invokeExact(x.segment(), x.stride(0), w.values().segment(), w.values().stride(0), w.scales().segment(), tables,
                        edges, edge, y.segment(), y.stride(0), x.size(0), y.size(1), x.size(1), type(x), type(y));
            });
        }
    }

    void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        MemorySegment pointers = tiles == null ? NULL : tiles.pointers();
        long edge = tiles == null ? 0 : tiles.edge();
        NativeKernels.call(() -> {
            dequantise.invokeExact(w.values().segment(), w.values().stride(0), w.scales().segment(), pointers, edge, out.segment(),
                    out.stride(0), out.size(0), out.size(1), type(out));
        });
    }

    private static int type(Tensor tensor) {
        return tensor.dtype() == DType.BF16 ? 1 : 0;
    }
}
