package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;

/**
 * Causal attention of one sequence and query head as the formulas have it, in double precision: {@code p = softmax(scale q k^T), out = p v};
 * {@code ds = p (gradOut v^T - gradOut out) scale; gradQ = ds k, gradK = ds^T q, gradV = p^T gradOut}.
 *
 * <p>Legend: T positions of the sequence, D head dimension.
 */
record ScalarAttention(Tensor q, Tensor k, Tensor v, float scale, int head, int start, int length) {

    /** Runs for every sequence and query head. */
    static void forEach(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, java.util.function.Consumer<ScalarAttention> run) {
        for (int s = 0; s + 1 < starts.size(0); s++) {
            int start = starts.segment().get(JAVA_INT_UNALIGNED, 4L * s);
            int end = starts.segment().get(JAVA_INT_UNALIGNED, 4L * (s + 1));
            for (int head = 0; head < q.dim(1); head++) {
                run.accept(new ScalarAttention(q, k, v, scale, head, start, end - start));
            }
        }
    }

    private int group() {
        return head / (q.dim(1) / k.dim(1));
    }

    /** The sequence's rows of one head, [T][D]. */
    private double[][] rows(Tensor tensor, int of) {
        Floats values = Floats.of(tensor);
        double[][] rows = new double[length][tensor.dim(2)];
        for (int i = 0; i < length; i++) {
            for (int d = 0; d < rows[i].length; d++) {
                rows[i][d] = values.get((start + i) * tensor.stride(0) + of * tensor.stride(1) + d);
            }
        }
        return rows;
    }

    private void write(double[][] rows, Tensor tensor) {
        Floats values = Floats.of(tensor);
        for (int i = 0; i < length; i++) {
            for (int d = 0; d < rows[i].length; d++) {
                values.set((start + i) * tensor.stride(0) + head * tensor.stride(1) + d, (float) rows[i][d]);
            }
        }
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int d = 0; d < a.length; d++) {
            sum += a[d] * b[d];
        }
        return sum;
    }

    private static void addScaled(double[] to, double factor, double[] from) {
        for (int d = 0; d < to.length; d++) {
            to[d] += factor * from[d];
        }
    }

    void forward(Tensor out, Tensor logSumExp) {
        double[][] queries = rows(q, head);
        double[][] keys = rows(k, group());
        double[][] values = rows(v, group());
        double[][] mixed = new double[length][q.dim(2)];
        for (int i = 0; i < length; i++) {
            double[] scores = new double[i + 1];
            double top = Double.NEGATIVE_INFINITY;
            for (int j = 0; j <= i; j++) {
                scores[j] = scale * dot(queries[i], keys[j]);
                top = Math.max(top, scores[j]);
            }
            double sum = 0;
            for (int j = 0; j <= i; j++) {
                sum += Math.exp(scores[j] - top);
            }
            for (int j = 0; j <= i; j++) {
                addScaled(mixed[i], Math.exp(scores[j] - top) / sum, values[j]);
            }
            if (logSumExp != null) {
                logSumExp.segment().set(JAVA_FLOAT_UNALIGNED, 4 * ((long) head * q.size(0) + start + i), (float) (top + Math.log(sum)));
            }
        }
        write(mixed, out);
    }

    /** Sets gradQ; adds to the group's gradK and gradV [T][D]. */
    void backward(Tensor gradOut, Tensor out, Tensor logSumExp, Tensor gradQ, double[][] gradK, double[][] gradV) {
        double[][] queries = rows(q, head);
        double[][] keys = rows(k, group());
        double[][] values = rows(v, group());
        double[][] outs = rows(out, head);
        double[][] grads = rows(gradOut, head);
        double[][] gradQueries = new double[length][q.dim(2)];
        for (int i = 0; i < length; i++) {
            double sum = logSumExp.segment().get(JAVA_FLOAT_UNALIGNED, 4 * ((long) head * q.size(0) + start + i));
            double delta = dot(grads[i], outs[i]);
            for (int j = 0; j <= i; j++) {
                double p = Math.exp(scale * dot(queries[i], keys[j]) - sum);
                double slope = p * (dot(grads[i], values[j]) - delta) * scale;
                addScaled(gradQueries[i], slope, keys[j]);
                addScaled(gradK[j], slope, queries[i]);
                addScaled(gradV[j], p, grads[i]);
            }
        }
        write(gradQueries, gradQ);
    }

    /** Whether this is the last query head of its group. */
    boolean endsGroup() {
        return (head + 1) % (q.dim(1) / k.dim(1)) == 0;
    }

    /** Writes a group's gradient [T][D]. */
    void writeGroup(double[][] rows, Tensor gradient) {
        new ScalarAttention(q, k, v, scale, group(), start, length).write(rows, gradient);
    }
}
