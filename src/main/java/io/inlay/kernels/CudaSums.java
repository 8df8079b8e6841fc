package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** Launches of what goes over all elements alike: kernels/add.cu, sums.cu. */
final class CudaSums {

    private static final int THREADS = 256;

    /** Elements that a thread of add.cu takes. */
    private static final int ADDED = 8;

    /** Elements for which sums.cu has one block more, up to the most blocks. */
    private static final int SQUARED = 32 * THREADS;
    private static final int MOST_PARTIALS = 1024;

    private final CudaLauncher launcher;

    CudaSums(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    void add(Tensor x, Tensor y) {
        for (Plane plane : Plane.of(x, y)) {
            CudaLaunch.of("add", x, y).grid(Math.ceilDiv(plane.columns(), THREADS * ADDED), Math.min(plane.rows(), CudaLaunch.MOST_ROWS), 1)
                    .block(THREADS)
                    .address(from(x, plane, 0)).number(plane.strides()[0])
                    .address(from(y, plane, 1)).number(plane.strides()[1])
                    .number(plane.rows()).number(plane.columns()).on(launcher);
        }
    }

    double sumOfSquares(Tensor x) {
        List<Plane> planes = Plane.of(x);
        if (planes.isEmpty()) {
            return 0;
        }
        Plane first = planes.getFirst();
        int blocks = (int) Math.min(MOST_PARTIALS, Math.ceilDiv(first.rows() * first.columns(), SQUARED));
        int partials = Math.multiplyExact(blocks, planes.size());
        try (DeviceBuffer partial = launcher.buffer(8L * partials); DeviceBuffer sum = launcher.buffer(8); Arena arena = Arena.ofConfined()) {
            long at = partial.address();
            for (Plane plane : planes) {
                CudaLaunch.of("sum_of_squares", x).grid(blocks).block(THREADS)
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
