package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** {@link Kernels#draw} as its definition has it: the reference, which sorts. */
final class ScalarDraws {

    /** A difference by which a token weighs less than one part of {@link Draw#WHOLE}; a little more than 40 ln 2. */
    static final float FARTHEST = -29;

    static final float LOG2_E = 1.44269504f;

    /** 1.5 * 2^23: what is added to it is rounded to a whole number, which is in the lower bits. */
    static final float ROUNDER = 0x1.8p23f;

    /** ln 2 in two parts, the first of few bits, so that small whole multiples of it are exact. */
    static final float LN2_HIGH = 0.693145752f;
    static final float LN2_LOW = 1.42860677e-6f;

    private ScalarDraws() {
    }

    static void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        Floats values = Floats.of(logits);
        float[] row = new float[logits.dim(1)];
        for (int r = 0; r < draws.size(); r++) {
            if (draws.get(r) != null) {
                values.load(r * logits.stride(0), row);
                ids.segment().set(JAVA_INT_UNALIGNED, 4L * r, draw(row, draws.get(r)));
            }
        }
    }

    static int draw(float[] logits, Draw draw) {
        int top = largest(logits);
        if (top < 0 || draw.greedy()) {
            return top;
        }
        long[] weights = weights(logits, draw.scale());
        int[] kept = kept(logits, draw);
        long at = Math.unsignedMultiplyHigh(draw.random(), IntStream.of(kept).mapToLong(v -> weights[v]).sum());
        int i = 0;
        for (long before = weights[kept[0]]; before <= at; before += weights[kept[i]]) {
            i++;
        }
        return kept[i];
    }

    /** The lowest id of the largest logit; -1 - v for the first v that is no logit, or of logits that are all negative infinity. */
    private static int largest(float[] logits) {
        int top = 0;
        for (int v = 0; v < logits.length; v++) {
            if (!(logits[v] < Float.POSITIVE_INFINITY)) {
                return -1 - v;
            }
            top = logits[v] > logits[top] ? v : top;
        }
        return logits[top] == Float.NEGATIVE_INFINITY ? -1 : top;
    }

    /** What tokens weigh at a temperature's inverse. */
    static long[] weights(float[] logits, float scale) {
        float top = logits[largest(logits)];
        long[] weights = new long[logits.length];
        Arrays.setAll(weights, v -> weight(logits[v], top, scale));
        return weights;
    }

    /** {@code e^((logit - top) scale)} in parts of {@link Draw#WHOLE}, by Cody and Waite's reduction and a polynomial of degree 6. */
    private static long weight(float logit, float top, float scale) {
        float x = Math.max((logit - top) * scale, FARTHEST);
        float shifted = Math.fma(x, LOG2_E, ROUNDER);
        float n = shifted - ROUNDER;
        float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, x));
        float p = 1f / 720;
        for (float coefficient : new float[] {1f / 120, 1f / 24, 1f / 6, 0.5f, 1, 1}) {
            p = Math.fma(p, r, coefficient);
        }
        // p is from 0.7 to 1.5 and has 24 bits, n is at most 0.
        return (long) (p * 0x1p24f) << 16 >> (int) -n;
    }

    /** The ids that may be drawn, in their order. */
    static int[] kept(float[] logits, Draw draw) {
        int[] order = IntStream.range(0, logits.length).boxed()
                .sorted((a, b) -> logits[a] > logits[b] ? -1 : logits[a] < logits[b] ? 1 : a - b).mapToInt(v -> v).toArray();
        long[] weights = weights(logits, draw.scale());
        int count = logits.length;
        if (draw.cutsToK(count)) {
            count = draw.topK();
            while (count < logits.length && logits[order[count]] == logits[order[draw.topK() - 1]]) {
                count++;
            }
        }
        if (draw.topP() < 1) {
            double enough = draw.enough(IntStream.of(order).limit(count).mapToLong(v -> weights[v]).sum());
            int staying = 0;
            for (long above = 0; staying < count && above < enough; staying++) {
                above += weights[order[staying]];
            }
            count = staying;
        }
        return IntStream.of(order).limit(count).filter(v -> weights[v] >= draw.least()).sorted().toArray();
    }
}
