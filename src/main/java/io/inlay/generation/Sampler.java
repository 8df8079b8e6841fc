package io.inlay.generation;

import io.inlay.Problem;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Draws tokens from logits: temperature, then top-k, then top-p, as Hugging Face's logits warpers define them. Draws with a seed use
 * {@link SplittableRandom} of that seed, one number a token, so the same logits give the same tokens. Confined to one request.
 */
public final class Sampler {

    private final Sampling sampling;
    private final SplittableRandom random;
    private long[] order = new long[0];

    public Sampler(Sampling sampling) {
        this.sampling = sampling;
        this.random = sampling.seed().isPresent() ? new SplittableRandom(sampling.seed().getAsLong()) : new SplittableRandom();
    }

    /**
     * The next token's id. Ties of the greedy choice go to the lowest id.
     *
     * @throws Problem {@code NOT_FINITE} when a logit is NaN
     */
    public int next(float[] logits) {
        int likeliest = likeliest(logits);
        if (sampling.temperature() == 0 || sampling.topK() == 1) {
            return likeliest;
        }
        int kept = keep(logits, logits[likeliest]);
        return draw(logits, logits[likeliest], kept);
    }

    private static int likeliest(float[] logits) {
        int best = 0;
        for (int i = 0; i < logits.length; i++) {
            if (logits[i] > logits[best]) {
                best = i;
            }
            if (Float.isNaN(logits[i])) {
                throw new Problem(Problem.Code.NOT_FINITE, "the model gave NaN for token " + i
                        + "; its weights or the fine-tune's are damaged, verify them");
            }
        }
        if (Float.isInfinite(logits[best])) {
            throw new Problem(Problem.Code.NOT_FINITE, "the model gave " + logits[best] + " for token " + best
                    + "; its weights or the fine-tune's are damaged, verify them");
        }
        return best;
    }

    /** Puts the kept tokens first in {@link #order}, likeliest first when anything is cut off; returns how many are kept. */
    private int keep(float[] logits, float most) {
        if (order.length < logits.length) {
            order = new long[logits.length];
        }
        boolean cuts = sampling.topP() < 1 || (sampling.topK() > 0 && sampling.topK() < logits.length);
        if (!cuts) {
            for (int i = 0; i < logits.length; i++) {
                order[i] = i;
            }
            return logits.length;
        }
        // Tokens this far below the likeliest are under 1e-13 of it: no top-p short of 1 reaches them, and they need not be sorted.
        double floor = sampling.topP() <= 0.999999 ? most - 30 * sampling.temperature() : Double.NEGATIVE_INFINITY;
        int count = 0;
        for (int i = 0; i < logits.length; i++) {
            if (logits[i] >= floor || (sampling.topK() > 0 && sampling.topP() == 1)) {
                order[count++] = (long) sortable(logits[i]) << 32 | Integer.MAX_VALUE - i;
            }
        }
        Arrays.sort(order, 0, count);
        for (int i = 0; i < count / 2; i++) {
            long swap = order[i];
            order[i] = order[count - 1 - i];
            order[count - 1 - i] = swap;
        }
        int kept = sampling.topK() > 0 ? Math.min(count, sampling.topK()) : count;
        for (int i = 0; i < kept; i++) {
            order[i] = Integer.MAX_VALUE - (order[i] & 0xFFFFFFFFL);
        }
        return sampling.topP() < 1 ? nucleus(logits, most, kept) : kept;
    }

    /** Of the first {@code kept} of {@link #order}, how many it takes until those before a token reach top-p. */
    private int nucleus(float[] logits, float most, int kept) {
        double total = 0;
        for (int i = 0; i < kept; i++) {
            total += weight(logits[(int) order[i]], most);
        }
        double before = 0;
        int count = 0;
        while (count < kept && before < sampling.topP() * total) {
            before += weight(logits[(int) order[count]], most);
            count++;
        }
        return Math.max(1, count);
    }

    private int draw(float[] logits, float most, int kept) {
        double total = 0;
        for (int i = 0; i < kept; i++) {
            total += weight(logits[(int) order[i]], most);
        }
        double at = random.nextDouble() * total;
        for (int i = 0; i < kept; i++) {
            at -= weight(logits[(int) order[i]], most);
            if (at < 0) {
                return (int) order[i];
            }
        }
        return (int) order[kept - 1];
    }

    private double weight(float logit, float most) {
        return Math.exp((logit - most) / sampling.temperature());
    }

    /** Float bits as an int that sorts like the float. */
    private static int sortable(float value) {
        int bits = Float.floatToIntBits(value);
        return bits ^ (bits >> 31 & 0x7FFFFFFF);
    }
}
