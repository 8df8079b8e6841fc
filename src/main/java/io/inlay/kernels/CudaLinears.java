package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Launches of kernels/linear.cu and gated_linear.cu. Which entry computes a row never changes its bits.
 *
 * <p>Legend: M rows, K input features, O output features.
 */
final class CudaLinears {

    private static final int THREADS = 128;
    private static final int WARPS = 4;
    private static final int PACK_BYTES = 16;

    /** Weights that one launch takes. */
    private static final int MOST_WEIGHTS = 3;

    /** Rows of x that one launch takes, and up to which warps do not share them. */
    static final int MOST_ROWS = 64;
    private static final int FEW_ROWS = 8;

    /** Slices of K that are summed apart. */
    private static final int SLICES = 4;

    /** Edges must be multiples of it for all entries but those for any edge. */
    private static final int STEP = 64;

    /** Rows of weights from which blocks of twice as many still fill the 132 multiprocessors of a large GPU, from twice of it two times. */
    private static final int MANY_OUTPUTS = 4096;

    /** Up to so many rows of x small blocks, of which a multiprocessor has more at work, are worth that each reads x. */
    private static final int ROWS_READ_OFTEN = 4;

    /** Results of one launch whose blocks share x: what its slices come to, 16 bytes each, must stay in the second-level cache. */
    private static final int MOST_RESULTS = 1 << 20;

    /** For lists of tables: those of some batches of {@link #MOST_ROWS} rows through all linears of a large model. */
    private static final int LIST_BYTES = 1 << 20;

    /** Rows of x in a block, and of weights. */
    private record Shape(int rows, int weights) {

        /** @param divisor of the edges of tables that rows of x do not share, which blocks that share x must not cross; else 0 */
        static Shape of(long m, long o, long divisor) {
            if (m <= FEW_ROWS) {
                return new Shape(FEW_ROWS, o < (m <= ROWS_READ_OFTEN ? 2 : 1) * MANY_OUTPUTS ? 16 : 32);
            }
            return new Shape(m <= 32 ? 32 : MOST_ROWS, o < MANY_OUTPUTS || divisor % (2 * STEP) != 0 ? STEP : 2 * STEP);
        }

        /** A warp takes as many rows of gate as of up. */
        static Shape gated(long m) {
            return m <= FEW_ROWS ? new Shape(FEW_ROWS, 32) : new Shape(m <= 32 ? 32 : MOST_ROWS, 2 * STEP);
        }

        boolean shared() {
            return rows > FEW_ROWS;
        }

        /** Rows of weights that one launch takes for m rows of x: of whole blocks, or however many there are. */
        int most(int m) {
            return shared() ? MOST_RESULTS / m / (2 * STEP) * 2 * STEP : Integer.MAX_VALUE;
        }

        CudaLaunch launch(String kernel, int outputs) {
            return CudaLaunch.of(kernel + "_" + rows + "x" + outputs).block(THREADS).shared(sharedBytes());
        }

        /** Packs of the operands in every stage, and where rows may differ, their masks; as kernels/linear_stages.cuh's Shape. */
        private int sharedBytes() {
            int stages = rows == FEW_ROWS && weights == 16 ? 6 : 4;
            int xPacks = rows / 8 * 2 * 32;
            int wPacks = weights / 16 * 4 * 32;
            int packs = shared() ? wPacks + xPacks : WARPS * (wPacks + xPacks);
            return stages * packs * PACK_BYTES + WARPS * stages * 8;
        }
    }

    /**
     * What a launch computes with one weight.
     *
     * @param w the address of its first row that counts
     * @param outputs its rows that count
     * @param tiles for each row of x in the launch
     * @param y the address of the first result
     * @param single whether results are fp32
     */
    private record Part(long w, long wStride, int outputs, List<TileTable> tiles, long y, long yStride, boolean single) {

        /** None: what is left of a launch that takes more weights than there are. */
        static final Part NONE = new Part(0, 0, 0, Collections.singletonList(null), 0, 0, false);

        static Part of(Tensor w, List<TileTable> tiles, Tensor y, int first) {
            return new Part(w.address(), w.stride(0), w.dim(0), tiles, row(y, first), y.stride(0), y.dtype() == DType.FP32);
        }

        boolean mixed() {
            return tiles.stream().anyMatch(each -> each != tiles.getFirst());
        }

        boolean base() {
            return tiles.stream().allMatch(each -> each == null);
        }

        /** Some of the rows; over the base alone where the first is not among them, since tables count rows from it. */
        Part piece(int from, int count) {
            long bytes = (single ? DType.FP32 : DType.BF16).bytes();
            return new Part(w + from * wStride * DType.BF16.bytes(), wStride, count, tiles, y + from * bytes, yStride, single);
        }

        CudaLaunch to(CudaLaunch launch) {
            return launch.address(w).number(wStride).address(y).number(yStride).integer(outputs).integer(single ? 1 : 0);
        }
    }

    private final GraphedLauncher launcher;
    private final CudaTables tables;
    private final CudaTableLists lists;

    /** Zeros between launches: blocks that share an output count themselves in it. Grows for unusually large weights with tables alone. */
    private DeviceBuffer counters;

    CudaLinears(GraphedLauncher launcher, CudaTables tables) {
        this.launcher = launcher;
        this.tables = tables;
        this.lists = new CudaTableLists(launcher, tables, LIST_BYTES);
    }

    void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        linear(x, w, tiles, y, 0, x.dim(0));
    }

    void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        if (suits(x, w, tiles)) {
            inRows(x, 0, List.of(w), List.of(tiles), List.of(y));
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

    void linears(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> ys) {
        boolean together = weights.size() <= MOST_WEIGHTS;
        for (int i = 0; i < weights.size(); i++) {
            together &= suits(x, weights.get(i), tiles.get(i));
        }
        if (together) {
            inRows(x, 0, weights, tiles, ys);
            return;
        }
        for (int i = 0; i < weights.size(); i++) {
            linearMixed(x, weights.get(i), tiles.get(i), ys.get(i));
        }
    }

    /** Whether {@link #gatedLinear} takes these. */
    static boolean suitsGated(Tensor x, Tensor gate, Tensor up) {
        return suits(x, gate, List.of()) && suits(x, up, List.of());
    }

    void gatedLinear(Tensor x, Tensor gate, Tensor up, Tensor y) {
        int rows = x.dim(0);
        for (int first = 0; first < rows; first += MOST_ROWS) {
            int m = Math.min(MOST_ROWS, rows - first);
            Shape shape = Shape.gated(m);
            int outputs = shape.weights() / 2;
            int most = Math.min(shape.most(m) / 2, gate.dim(0));
            for (int from = 0; from < gate.dim(0); from += most) {
                int count = Math.min(most, gate.dim(0) - from);
                CudaLaunch launch = shape.launch("gated_linear_bf16", outputs).address(row(x, first)).number(x.stride(0)).integer(m)
                        .integer(x.dim(1)).address(row(gate, from)).number(gate.stride(0)).address(row(up, from)).number(up.stride(0))
                        .address(row(y, first) + (long) from * y.dtype().bytes()).number(y.stride(0)).integer(count);
                start(launch, shape, Math.ceilDiv(count, outputs), m);
            }
        }
    }

    /** Rows {@code first} to {@code first + count - 1} through one table. */
    private void linear(Tensor x, Tensor w, TileTable tiles, Tensor y, int first, int count) {
        if (x.dtype() == DType.FP32) {
            operands(inEights("linear_f32", w.size(0), WARPS, count), x, w, tiles, y, first)
                    .integer(count).integer(w.dim(0)).integer(w.dim(1)).on(launcher);
        } else if (!suits(x, w, Collections.singletonList(tiles))) {
            operands(inEights("linear_any_bf16", w.size(0), 16, count), x, w, tiles, y, first)
                    .integer(count).integer(w.dim(0)).integer(w.dim(1)).integer(y.dtype() == DType.FP32 ? 1 : 0).on(launcher);
        } else {
            inRows(x, first, List.of(w), List.of(Collections.nCopies(count, tiles)), List.of(y));
        }
    }

    private CudaLaunch operands(CudaLaunch launch, Tensor x, Tensor w, TileTable tiles, Tensor y, int first) {
        return launch.address(row(x, first)).number(x.stride(0)).matrix(w).address(tables.address(tiles)).integer(edge(tiles))
                .address(row(y, first)).number(y.stride(0));
    }

    // ---- linear.cu ----

    /** Rows of x from {@code first} on, as many as there are {@code tiles}, over weights that {@link #suits} takes. */
    private void inRows(Tensor x, int first, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> ys) {
        int rows = tiles.getFirst().size();
        for (int from = 0; from < rows; from += MOST_ROWS) {
            int until = Math.min(rows, from + MOST_ROWS);
            List<Part> parts = new ArrayList<>();
            for (int i = 0; i < weights.size(); i++) {
                parts.add(Part.of(weights.get(i), tiles.get(i).subList(from, until), ys.get(i), first + from));
            }
            inPieces(x, first + from, until - from, parts);
        }
    }

    /** As many launches as the results' slices ask for. */
    private void inPieces(Tensor x, int first, int m, List<Part> parts) {
        int outputs = parts.stream().mapToInt(Part::outputs).sum();
        int most = Shape.of(m, outputs, 0).most(m);
        if (outputs <= most) {
            inOne(x, first, m, parts);
            return;
        }
        for (Part part : parts) {
            int piece = part.base() ? Math.min(most, part.outputs()) : part.outputs();
            for (int from = 0; from < part.outputs(); from += piece) {
                inOne(x, first, m, List.of(part.piece(from, Math.min(piece, part.outputs() - from))));
            }
        }
    }

    private void inOne(Tensor x, int first, int m, List<Part> parts) {
        int outputs = parts.stream().mapToInt(Part::outputs).sum();
        if (parts.stream().noneMatch(Part::mixed)) {
            Shape shape = Shape.of(m, outputs, 0);
            CudaLaunch launch = begin("linear_bf16", shape, x, first, m);
            for (int i = 0; i < MOST_WEIGHTS; i++) {
                Part part = i < parts.size() ? parts.get(i) : Part.NONE;
                TileTable one = part.tiles().getFirst();
                part.to(launch).address(tables.address(one)).integer(edge(one));
            }
            start(launch, shape, blocks(parts, shape), m);
            return;
        }
        List<TileTable> all = parts.stream().flatMap(each -> each.tiles().stream()).toList();
        Shape shape = Shape.of(m, outputs, TileTable.divisorOfEdges(all));
        lists.with(all, list -> {
            CudaLaunch launch = begin("linear_mixed_bf16", shape, x, first, m);
            for (int i = 0; i < MOST_WEIGHTS; i++) {
                (i < parts.size() ? parts.get(i) : Part.NONE).to(launch);
            }
            start(launch.address(list).address(list + 8L * all.size()), shape, blocks(parts, shape), m);
        });
    }

    private static CudaLaunch begin(String kernel, Shape shape, Tensor x, int first, int m) {
        return shape.launch(kernel, shape.weights()).address(row(x, first)).number(x.stride(0)).integer(m).integer(x.dim(1));
    }

    private static int blocks(List<Part> parts, Shape shape) {
        return parts.stream().mapToInt(each -> Math.ceilDiv(each.outputs(), shape.weights())).sum();
    }

    /** Geometry and the memory for slices. */
    private void start(CudaLaunch launch, Shape shape, int blocks, int m) {
        if (!shape.shared()) {
            launch.grid(blocks).address(0).address(0).on(launcher);
            return;
        }
        try (DeviceBuffer partial = launcher.scratch(4L * SLICES * m * blocks * shape.weights())) {
            // Two launches may not count in the same counters at once; on a device they run one after another anyway.
            synchronized (launcher) {
                launch.grid(blocks, SLICES, 1).address(partial.address()).address(counters(blocks)).on(launcher);
            }
        }
    }

    private long counters(int count) {
        if (counters == null || counters.bytes() < 4L * count) {
            if (counters != null) {
                counters.close();
            }
            try (Arena arena = Arena.ofConfined()) {
                counters = launcher.copyOf(arena.allocate(4L * Math.max(count, MOST_RESULTS / FEW_ROWS / STEP)));
            }
        }
        return counters.address();
    }

    // ---- operands ----

    /** Blocks of {@code outputs} rows of w by 8 of x. */
    private static CudaLaunch inEights(String kernel, long o, int outputs, long m) {
        return CudaLaunch.of(kernel).grid(Math.ceilDiv(o, outputs), Math.ceilDiv(m, 8), 1).block(THREADS);
    }

    /** Whether linear.cu takes these: 16 bytes at a time, and stages that lie in one block of each table. */
    private static boolean suits(Tensor x, Tensor w, List<TileTable> tiles) {
        return x.dtype() == DType.BF16 && w.size(1) % 8 == 0 && packed(x) && packed(w)
                && tiles.stream().allMatch(each -> each == null || each.edge() % STEP == 0 && each.alignment() >= PACK_BYTES);
    }

    private static boolean packed(Tensor matrix) {
        return matrix.address() % PACK_BYTES == 0 && matrix.stride(0) * matrix.dtype().bytes() % PACK_BYTES == 0;
    }

    private static long row(Tensor matrix, int row) {
        return matrix.address() + row * matrix.stride(0) * matrix.dtype().bytes();
    }

    private static int edge(TileTable tiles) {
        return tiles == null ? 0 : tiles.edge();
    }
}
