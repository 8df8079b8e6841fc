package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;
import java.util.Arrays;

/**
 * Causal attention of whole sequences by the Vector API: a sequence and a group of heads at a time, rows widened to fp32 once, one query
 * after another. Reference: {@link ScalarAttention}.
 *
 * <p>Legend: T positions of a sequence, D head dimension, G key/value heads.
 */
final class VectorAttention {

    private final Tensor q;
    private final Tensor k;
    private final Tensor v;
    private final Tensor starts;
    private final float scale;
    private final int members;
    private final int d;

    VectorAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale) {
        this.q = q;
        this.k = k;
        this.v = v;
        this.starts = starts;
        this.scale = scale;
        this.members = q.dim(1) / k.dim(1);
        this.d = q.dim(2);
    }

    /** Sequences times groups. */
    int items() {
        return (starts.dim(0) - 1) * k.dim(1);
    }

    /** About how many elements all items touch. */
    long work() {
        return q.elements() * Math.max(1, q.size(0) / Math.max(1, starts.size(0) - 1));
    }

    private int start(int sequence) {
        return starts.segment().get(JAVA_INT_UNALIGNED, 4L * sequence);
    }

    private float[][] rows(Tensor tensor, int head, int start, int length) {
        float[][] rows = new float[length][d];
        for (int i = 0; i < length; i++) {
            Lanes.load(tensor, (start + i) * tensor.stride(0) + head * tensor.stride(1), rows[i], d);
        }
        return rows;
    }

    private void store(float[][] rows, Tensor tensor, int head, int start) {
        for (int i = 0; i < rows.length; i++) {
            Lanes.store(rows[i], tensor, (start + i) * tensor.stride(0) + head * tensor.stride(1), d);
        }
    }

    void forward(int item, Tensor out, Tensor logSumExp) {
        int group = item % k.dim(1);
        int start = start(item / k.dim(1));
        int length = start(item / k.dim(1) + 1) - start;
        float[][] keys = rows(k, group, start, length);
        float[][] values = rows(v, group, start, length);
        float[] weights = new float[length];
        for (int head = group * members; head < (group + 1) * members; head++) {
            float[][] queries = rows(q, head, start, length);
            float[][] mixed = new float[length][d];
            for (int i = 0; i < length; i++) {
                for (int j = 0; j <= i; j++) {
                    weights[j] = scale * Lanes.dot(queries[i], 0, keys[j], d);
                }
                float top = Lanes.max(weights, 0, i + 1);
                Lanes.exp(weights, 0, top, 1, weights, i + 1);
                double sum = 0;
                for (int j = 0; j <= i; j++) {
                    sum += weights[j];
                }
                for (int j = 0; j <= i; j++) {
                    Lanes.addScaled(mixed[i], (float) (weights[j] / sum), values[j], d);
                }
                if (logSumExp != null) {
                    logSumExp.segment().set(JAVA_FLOAT_UNALIGNED, sums(head, start + i), (float) (top + Math.log(sum)));
                }
            }
            store(mixed, out, head, start);
        }
    }

    private long sums(int head, int row) {
        return 4 * (head * q.size(0) + row);
    }

    /** The three gradients. */
    record Gradients(Tensor query, Tensor key, Tensor value) {
    }

    void backward(int item, Tensor gradOut, Tensor out, Tensor logSumExp, Gradients gradients) {
        int group = item % k.dim(1);
        int start = start(item / k.dim(1));
        int length = start(item / k.dim(1) + 1) - start;
        float[][] keys = rows(k, group, start, length);
        float[][] values = rows(v, group, start, length);
        float[][] gradKeys = new float[length][d];
        float[][] gradValues = new float[length][d];
        float[] weights = new float[length];
        for (int head = group * members; head < (group + 1) * members; head++) {
            float[][] queries = rows(q, head, start, length);
            float[][] outs = rows(out, head, start, length);
            float[][] grads = rows(gradOut, head, start, length);
            float[][] gradQueries = new float[length][d];
            for (int i = 0; i < length; i++) {
                Arrays.fill(weights, 0);
                for (int j = 0; j <= i; j++) {
                    weights[j] = scale * Lanes.dot(queries[i], 0, keys[j], d);
                }
                Lanes.exp(weights, 0, logSumExp.segment().get(JAVA_FLOAT_UNALIGNED, sums(head, start + i)), 1, weights, i + 1);
                float delta = Lanes.dot(grads[i], 0, outs[i], d);
                for (int j = 0; j <= i; j++) {
                    float slope = weights[j] * (Lanes.dot(grads[i], 0, values[j], d) - delta) * scale;
                    Lanes.addScaled(gradQueries[i], slope, keys[j], d);
                    Lanes.addScaled(gradKeys[j], slope, queries[i], d);
                    Lanes.addScaled(gradValues[j], weights[j], grads[i], d);
                }
            }
            store(gradQueries, gradients.query(), head, start);
        }
        store(gradKeys, gradients.key(), group, start);
        store(gradValues, gradients.value(), group, start);
    }
}
