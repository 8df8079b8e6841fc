package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;

/** What is asked of whole rows of logits, as the formulas have it. */
final class ScalarSampling {

    private ScalarSampling() {
    }

    static void argmax(Tensor logits, Tensor ids) {
        Floats values = Floats.of(logits);
        for (int r = 0; r < logits.dim(0); r++) {
            ids.segment().set(JAVA_INT_UNALIGNED, 4L * r, argmax(values, r * logits.stride(0), logits.dim(1)));
        }
    }

    private static int argmax(Floats values, long first, int count) {
        int best = 0;
        for (int v = 0; v < count; v++) {
            float logit = values.get(first + v);
            if (!(logit < Float.POSITIVE_INFINITY)) {
                return -1 - v;
            }
            if (logit > values.get(first + best)) {
                best = v;
            }
        }
        return values.get(first + best) == Float.NEGATIVE_INFINITY ? -1 : best;
    }

    static void logSoftmax(Tensor logits, Tensor out) {
        Floats values = Floats.of(logits);
        Floats outs = Floats.of(out);
        for (int r = 0; r < logits.dim(0); r++) {
            long first = r * logits.stride(0);
            float top = Float.NEGATIVE_INFINITY;
            for (int v = 0; v < logits.dim(1); v++) {
                top = Math.max(top, values.get(first + v));
            }
            double sum = 0;
            for (int v = 0; v < logits.dim(1); v++) {
                sum += Math.exp(values.get(first + v) - top);
            }
            for (int v = 0; v < logits.dim(1); v++) {
                outs.set(r * out.stride(0) + v, (float) (values.get(first + v) - (top + Math.log(sum))));
            }
        }
    }
}
