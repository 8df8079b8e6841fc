package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;

/**
 * Launches of kernels/linear.cu. Which entry computes a row never changes its bits.
 *
 * <p>Legend: M rows, K input features, O output features.
 */
final class CudaLinears {

    private static final int THREADS = 128;
    private static final int WARPS = 4;
    private static final int PACK_BYTES = 16;

    /** Rows of x that one launch takes, and up to which warps do not share them. */
    static final int MOST_ROWS = 64;
    private static final int FEW_ROWS = 8;

    /** Slices of K that are summed apart. */
    private static final int SLICES = 4;

    /** Edges must be multiples of it for all entries but those for any edge. */
    private static final int STEP = 64;

    /** Outputs from which blocks of twice as many still fill the multiprocessors of a large GPU. */
    private static final int MANY_OUTPUTS = 4096;

    /** Outputs of one launch whose blocks share x: what its slices come to must stay in the second-level cache. */
    private static final int MOST_OUTPUTS = 16384;

    /** For lists of tables: those of some batches of {@link #MOST_ROWS} rows through all linears of a large model. */
    private static final int LIST_BYTES = 1 << 20;

    /** Rows of w in a block, and of x. */
    private record Shape(int rows, int outputs) {

        static Shape of(long m, long o, long divisor) {
            if (m <= FEW_ROWS) {
                return new Shape(FEW_ROWS, o < MANY_OUTPUTS ? 16 : 32);
            }
            return new Shape(m <= 32 ? 32 : MOST_ROWS, o < MANY_OUTPUTS || divisor % 128 != 0 ? 64 : 128);
        }

        boolean shared() {
            return rows > FEW_ROWS;
        }

        String entry(String kernel) {
            return kernel + "_" + rows + "x" + outputs;
        }

        /** Packs of the operands in every stage, and where rows may differ, their masks; as linear.cu's Shape. */
        int sharedBytes() {
            int stages = rows == FEW_ROWS && outputs == 16 ? 6 : 4;
            int xPacks = rows / 8 * 2 * 32;
            int wPacks = outputs / 16 * 4 * 32;
            int packs = shared() ? wPacks + xPacks : WARPS * (wPacks + xPacks);
            return stages * packs * PACK_BYTES + WARPS * stages * 8;
        }
    }

    private final GraphedLauncher launcher;
    private final CudaTables tables;
    private final CudaTableLists lists;

    /** Zeros between launches: blocks that share an output count themselves in it. */
    private DeviceBuffer counters;

    CudaLinears(GraphedLauncher launcher, CudaTables tables) {
        this.launcher = launcher;
        this.tables = tables;
        this.lists = new CudaTableLists(launcher, tables, LIST_BYTES);
    }

    void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        linear(x, w, tiles, y, 0, x.size(0));
    }

    void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        long divisor = tiles.stream().mapToLong(each -> each == null ? 0 : each.edge()).reduce(0, CudaLinears::commonDivisor);
        boolean fits = packed(x, w) && tiles.stream().allMatch(each -> each == null || packed(each));
        if (fits && divisor % STEP == 0 && tiles.stream().anyMatch(each -> each != tiles.getFirst())) {
            for (int first = 0; first < tiles.size(); first += MOST_ROWS) {
                mixed(x, w, tiles.subList(first, Math.min(tiles.size(), first + MOST_ROWS)), divisor, y, first);
            }
            return;
        }
        for (int first = 0, end; first < tiles.size(); first = end) {
            end = first + 1;
            while (end < tiles.size() && tiles.get(end) == tiles.get(first)) {
                end++;
            }
            linear(x, w, tiles.get(first), y, first, end - first);
        }
    }

    /** Rows {@code first} to {@code first + count - 1} through one table. */
    private void linear(Tensor x, Tensor w, TileTable tiles, Tensor y, long first, long count) {
        if (x.dtype() == DType.FP32) {
            operands(inEights("linear_f32", w.size(0), WARPS, count), x, w, tables.address(tiles), edge(tiles), y, first)
                    .integer((int) count).integer(w.dim(0)).integer(w.dim(1)).on(launcher);
        } else if (!packed(x, w) || tiles != null && (tiles.edge() % STEP != 0 || !packed(tiles))) {
            operands(inEights("linear_any_bf16", w.size(0), 16, count), x, w, tables.address(tiles), edge(tiles), y, first)
                    .integer((int) count).integer(w.dim(0)).integer(w.dim(1)).integer(single(y)).on(launcher);
        } else {
            for (long from = first; from < first + count; from += MOST_ROWS) {
                packed(x, w, tiles, y, from, Math.min(MOST_ROWS, first + count - from));
            }
        }
    }

    private void packed(Tensor x, Tensor w, TileTable tiles, Tensor y, long first, long count) {
        long outputs = tiles == null ? MOST_OUTPUTS : w.size(0);
        for (long from = 0; from < w.size(0); from += outputs) {
            long o = Math.min(outputs, w.size(0) - from);
            Shape shape = Shape.of(count, o, 2 * STEP);
            CudaLaunch launch = CudaLaunch.of(shape.entry("linear_bf16")).address(row(x, first)).number(x.stride(0))
                    .address(row(w, from)).number(w.stride(0)).address(tables.address(tiles)).integer(edge(tiles))
                    .address(row(y, first) + from * y.dtype().bytes()).number(y.stride(0))
                    .integer((int) count).integer((int) o).integer(w.dim(1)).integer(single(y));
            launch(launch, shape, count, o);
        }
    }

    private void mixed(Tensor x, Tensor w, List<TileTable> tiles, long divisor, Tensor y, int first) {
        int count = tiles.size();
        Shape shape = Shape.of(count, w.size(0), divisor);
        lists.with(tiles, list -> {
            CudaLaunch launch = CudaLaunch.of(shape.entry("linear_mixed_bf16")).address(row(x, first)).number(x.stride(0)).matrix(w)
                    .address(list).address(list + 8L * count).address(row(y, first)).number(y.stride(0))
                    .integer(count).integer(w.dim(0)).integer(w.dim(1)).integer(single(y));
            launch(launch, shape, count, w.size(0));
        });
    }

    private static CudaLaunch operands(CudaLaunch launch, Tensor x, Tensor w, long table, int edge, Tensor y, long first) {
        return launch.address(row(x, first)).number(x.stride(0)).matrix(w).address(table).integer(edge).address(row(y, first))
                .number(y.stride(0));
    }

    /** Geometry and the memory for slices. */
    private void launch(CudaLaunch launch, Shape shape, long m, long o) {
        long blocks = Math.ceilDiv(o, shape.outputs());
        launch.block(THREADS).shared(shape.sharedBytes());
        if (!shape.shared()) {
            launch.grid(blocks).address(0).address(0).on(launcher);
            return;
        }
        try (DeviceBuffer partial = launcher.scratch(4L * SLICES * m * o)) {
            // Two launches may not count in the same counters at once; on a device they run one after another anyway.
            synchronized (launcher) {
                launch.grid(blocks, SLICES, 1).address(partial.address()).address(counters(blocks)).on(launcher);
            }
        }
    }

    private long counters(long count) {
        if (counters == null || counters.bytes() < 4 * count) {
            if (counters != null) {
                counters.close();
            }
            try (Arena arena = Arena.ofConfined()) {
                counters = launcher.copyOf(arena.allocate(4 * Math.max(count, MOST_OUTPUTS / STEP)));
            }
        }
        return counters.address();
    }

    /** Blocks of {@code outputs} rows of w by 8 of x. */
    private static CudaLaunch inEights(String kernel, long o, int outputs, long m) {
        return CudaLaunch.of(kernel).grid(Math.ceilDiv(o, outputs), Math.ceilDiv(m, 8), 1).block(THREADS);
    }

    private static boolean packed(Tensor x, Tensor w) {
        return x.dtype() == DType.BF16 && w.size(1) % 8 == 0 && packed(x) && packed(w);
    }

    private static boolean packed(Tensor matrix) {
        return matrix.address() % PACK_BYTES == 0 && matrix.stride(0) * matrix.dtype().bytes() % PACK_BYTES == 0;
    }

    private static boolean packed(TileTable tiles) {
        return tiles.alignment() >= PACK_BYTES;
    }

    private static long row(Tensor matrix, long row) {
        return matrix.address() + row * matrix.stride(0) * matrix.dtype().bytes();
    }

    private static int single(Tensor y) {
        return y.dtype() == DType.FP32 ? 1 : 0;
    }

    private static int edge(TileTable tiles) {
        return tiles == null ? 0 : tiles.edge();
    }

    private static long commonDivisor(long a, long b) {
        return b == 0 ? a : commonDivisor(b, a % b);
    }
}
