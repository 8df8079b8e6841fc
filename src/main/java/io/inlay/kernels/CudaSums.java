package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** Launches of what goes over all elements alike: kernels/add.cu, sums.cu, adamw.cu, scores.cu. */
final class CudaSums {

    private static final int THREADS = CudaLaunch.THREADS;
    private static final int PIECE = CudaLaunch.PIECE;

    /** Elements of a row for which sums.cu has one block more, and its blocks at most. */
    private static final int SQUARED = 32 * THREADS;
    private static final int MOST_PARTIALS = 1024;

    private final CudaLauncher launcher;

    CudaSums(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    void add(Tensor x, Tensor y) {
        for (Plane plane : Plane.of(x, y)) {
            CudaLaunch.overRows("add", plane.rows(), plane.columns(), x, y)
                    .address(from(x, plane, 0)).number(plane.strides()[0])
                    .address(from(y, plane, 1)).number(plane.strides()[1])
                    .number(plane.rows()).number(plane.columns()).on(launcher);
        }
    }

    void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamWConstants c) {
        CudaLaunch.of("adamw", gradient, weight).grid(Math.ceilDiv(master.elements(), THREADS * PIECE)).block(THREADS)
                .tensor(gradient).tensor(master).tensor(first).tensor(second).tensor(weight).number(master.elements())
                .real(c.scale()).real(c.beta1()).real(c.rest1()).real(c.beta2()).real(c.rest2()).real(c.decay()).real(c.stepSize())
                .real(c.rootScale()).real(c.epsilon()).on(launcher);
    }

    void addBlockMeans(Tensor g, int edge, Tensor scores, boolean absolute) {
        // A grid has a bounded number of rows of blocks.
        for (long from = 0; from < scores.size(0); from += CudaLaunch.MOST_ROWS) {
            CudaLaunch.of("block_means", g).grid(scores.size(1), Math.min(CudaLaunch.MOST_ROWS, scores.size(0) - from), 1).block(THREADS)
                    .address(g.address() + from * edge * g.stride(0) * g.dtype().bytes()).number(g.stride(0)).integer(edge)
                    .address(scores.address() + 4 * from * scores.stride(0)).number(scores.stride(0)).integer(absolute ? 1 : 0)
                    .on(launcher);
        }
    }

    double sumOfSquares(Tensor x) {
        List<Plane> planes = Plane.of(x);
        if (planes.isEmpty()) {
            return 0;
        }
        Plane first = planes.getFirst();
        int across = (int) Math.min(MOST_PARTIALS, Math.ceilDiv(first.columns(), SQUARED));
        int down = (int) Math.min(MOST_PARTIALS / across, first.rows());
        int blocks = across * down;
        int partials = Math.multiplyExact(blocks, planes.size());
        try (DeviceBuffer partial = launcher.scratch(8L * partials); DeviceBuffer sum = launcher.scratch(8);
                Arena arena = Arena.ofConfined()) {
            long at = partial.address();
            for (Plane plane : planes) {
                CudaLaunch.of("sum_of_squares", x).grid(across, down, 1).block(THREADS)
                        .address(from(x, plane, 0)).number(plane.strides()[0]).number(plane.rows()).number(plane.columns())
                        .address(at).on(launcher);
                at += 8L * blocks;
            }
            CudaLaunch.of("sum_of_partials").grid(1).block(THREADS).address(partial.address()).integer(partials).address(sum.address())
                    .on(launcher);
            MemorySegment result = arena.allocate(ValueLayout.JAVA_DOUBLE);
            launcher.download(sum.address(), result);
            return result.get(ValueLayout.JAVA_DOUBLE, 0);
        }
    }

    /** The address of the plane's first element in its tensor number {@code t}. */
    private static long from(Tensor tensor, Plane plane, int t) {
        return tensor.address() + plane.offsets()[t] * tensor.dtype().bytes();
    }
}
