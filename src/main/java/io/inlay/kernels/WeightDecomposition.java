package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.util.Arrays;

/**
 * What DoRA (Liu et al. 2024) asks for beside matrix products: norms of a weight's rows, and outputs scaled one by one. All tensors have
 * dense rows; sums are made in double precision and in a fixed order, on the host wherever the tensors are.
 *
 * <p>Legend: N tokens, O outputs, K inputs.
 */
public final class WeightDecomposition {

    private static final Cores CORES = new Cores(CpuKernels.threads());

    private WeightDecomposition() {
    }

    /** {@code sum_k a[o, k] b[o, k]} of every row: a, b [O, K]. */
    public static double[] rowDots(Tensor a, Tensor b) {
        require(a.rank() == 2 && b.hasSizes(a.sizes()) && a.rowsDense() && b.rowsDense(), "rowDots", a, b);
        try (HostOperands host = new HostOperands()) {
            return hostRowDots(host.read(a), host.read(b));
        }
    }

    private static double[] hostRowDots(Tensor a, Tensor b) {
        double[] dots = new double[a.dim(0)];
        Floats left = Floats.of(a);
        Floats right = Floats.of(b);
        int columns = a.dim(1);
        CORES.forEach(dots.length, a.elements(), (begin, end) -> {
            float[] first = new float[columns];
            float[] second = new float[columns];
            for (int row = begin; row < end; row++) {
                left.load(row * a.stride(0), first);
                right.load(row * b.stride(0), second);
                double sum = 0;
                for (int k = 0; k < columns; k++) {
                    sum += (double) first[k] * second[k];
                }
                dots[row] = sum;
            }
        });
        return dots;
    }

    /** {@code out[n, o] = x[n, o] scale[o]}: x, out [N, O] of one type, scale fp32 [O]; out may be x. */
    public static void scaleColumns(Tensor x, Tensor scale, Tensor out) {
        require(x.rank() == 2 && out.hasSizes(x.sizes()) && x.dtype() == out.dtype() && x.rowsDense() && out.rowsDense()
                && perColumn(scale, x), "scaleColumns", x, scale, out);
        try (HostOperands host = new HostOperands()) {
            hostScaleColumns(host.read(x), host.read(scale), host.written(out));
        }
    }

    private static void hostScaleColumns(Tensor x, Tensor scale, Tensor out) {
        Floats from = Floats.of(x);
        Floats to = Floats.of(out);
        float[] factors = new float[x.dim(1)];
        Floats.of(scale).load(0, factors);
        CORES.forEach(x.dim(0), x.elements(), (begin, end) -> {
            float[] values = new float[factors.length];
            for (int row = begin; row < end; row++) {
                from.load(row * x.stride(0), values);
                for (int o = 0; o < values.length; o++) {
                    values[o] *= factors[o];
                }
                to.store(values, row * out.stride(0));
            }
        });
    }

    /** {@code w[o, k] *= scale[o]}: w [O, K]. */
    public static void scaleRows(Tensor w, double[] scale) {
        require(w.rank() == 2 && w.rowsDense() && w.size(0) == scale.length, "scaleRows by " + scale.length, w);
        try (HostOperands host = new HostOperands()) {
            hostScaleRows(host.written(w), scale);
        }
    }

    private static void hostScaleRows(Tensor w, double[] scale) {
        Floats values = Floats.of(w);
        CORES.forEach(w.dim(0), w.elements(), (begin, end) -> {
            float[] scaled = new float[w.dim(1)];
            for (int row = begin; row < end; row++) {
                values.load(row * w.stride(0), scaled);
                for (int k = 0; k < scaled.length; k++) {
                    scaled[k] = (float) (scaled[k] * scale[row]);
                }
                values.store(scaled, row * w.stride(0));
            }
        });
    }

    /** {@code sums[o] += sum_n g[n, o] u[n, o] / divisor[o]}: g, u [N, O], divisor and sums fp32 [O]. */
    public static void addColumnDots(Tensor g, Tensor u, Tensor divisor, Tensor sums) {
        require(g.rank() == 2 && u.hasSizes(g.sizes()) && g.rowsDense() && u.rowsDense() && perColumn(divisor, g) && perColumn(sums, g),
                "addColumnDots", g, u, divisor, sums);
        try (HostOperands host = new HostOperands()) {
            hostAddColumnDots(host.read(g), host.read(u), host.read(divisor), host.written(sums));
        }
    }

    private static void hostAddColumnDots(Tensor g, Tensor u, Tensor divisor, Tensor sums) {
        Floats left = Floats.of(g);
        Floats right = Floats.of(u);
        Floats norms = Floats.of(divisor);
        Floats target = Floats.of(sums);
        int rows = g.dim(0);
        CORES.forEach(g.dim(1), g.elements(), (begin, end) -> {
            double[] dots = new double[end - begin];
            float[] first = new float[dots.length];
            float[] second = new float[dots.length];
            for (int row = 0; row < rows; row++) {
                left.load(row * g.stride(0) + begin, first);
                right.load(row * u.stride(0) + begin, second);
                for (int i = 0; i < dots.length; i++) {
                    dots[i] += (double) first[i] * second[i];
                }
            }
            for (int o = begin; o < end; o++) {
                target.add(o, (float) (dots[o - begin] / norms.get(o)));
            }
        });
    }

    private static boolean perColumn(Tensor vector, Tensor matrix) {
        return vector.dtype() == DType.FP32 && vector.hasSizes(matrix.size(1)) && vector.contiguous();
    }

    private static void require(boolean holds, String operation, Tensor... operands) {
        if (!holds) {
            throw new IllegalArgumentException(operation + " does not fit its operands: " + Arrays.toString(operands));
        }
    }
}
