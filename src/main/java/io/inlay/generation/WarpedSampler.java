package io.inlay.generation;

import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Temperature, then top-k, then top-p, then min-p, as Hugging Face's logits warpers define them and in their order: top-k keeps whatever
 * ties with the k-th; top-p keeps a token while the probability of those above it is less than p; min-p keeps what has at least that share
 * of the likeliest one's probability. Then one number from {@link SplittableRandom#nextDouble()} chooses, so
 * a seed and the same logits give the same tokens.
 *
 * <p>Tokens are taken off a heap until enough are kept: a vocabulary is never sorted.
 */
final class WarpedSampler implements Sampler {

    /** Weights below exp(-40) of the largest are less than the steps in which random numbers come, and count as none. */
    private static final double NEGLIGIBLE = -40;

    private final Sampling sampling;
    private final String model;
    private final SplittableRandom random;
    private final LargestFirst candidates = new LargestFirst();
    private int[] kept = new int[64];
    private double[] weights = new double[64];

    WarpedSampler(Sampling sampling, String model) {
        this.sampling = sampling;
        this.model = model;
        this.random = sampling.seed().isPresent() ? new SplittableRandom(sampling.seed().getAsLong()) : new SplittableRandom();
    }

    @Override
    public int next(float[] logits) {
        float most = Sampler.highest(logits, model);
        if (sampling.topP() == 1 && sampling.minP() == 0 && !cutsToK(logits)) {
            ensure(logits.length);
            for (int i = 0; i < logits.length; i++) {
                weights[i] = weight(logits[i], most);
            }
            return choose(logits.length);
        }
        int choice = choose(keep(logits, most));
        return kept[choice];
    }

    /** The ids that may be drawn, likeliest first. */
    int[] kept(float[] logits) {
        int count = keep(logits, Sampler.highest(logits, model));
        return Arrays.copyOf(kept, count);
    }

    private boolean cutsToK(float[] logits) {
        return sampling.topK() > 0 && sampling.topK() < logits.length;
    }

    private double weight(float logit, float most) {
        double below = ((double) logit - most) / sampling.temperature();
        return below < NEGLIGIBLE ? 0 : Math.exp(below);
    }

    /** Fills {@link #kept} and {@link #weights}, likeliest first; returns how many. */
    private int keep(float[] logits, float most) {
        candidates.fill(logits);
        if (cutsToK(logits)) {
            int count = 0;
            while (!candidates.isEmpty() && (count < sampling.topK() || logits[candidates.peek()] == logits[kept[count - 1]])) {
                take(count++, logits, most);
            }
            return probable(nucleus(count));
        }
        double total = 0;
        for (float logit : logits) {
            total += weight(logit, most);
        }
        int count = 0;
        for (double above = 0; !candidates.isEmpty() && stays(count, above, total) && probable(candidates.peek(), logits, most);
                above += weights[count - 1]) {
            take(count++, logits, most);
        }
        return probable(count);
    }

    /** Min-p's rule for a token that would be taken next; without top-p's sum to reach, this is where taking ends. */
    private boolean probable(int token, float[] logits, float most) {
        return weight(logits[token], most) >= sampling.minP();
    }

    /** How many of the first {@code count} stay for min-p; the first of them weighs 1. */
    private int probable(int count) {
        int staying = count;
        while (staying > 1 && weights[staying - 1] < sampling.minP()) {
            staying--;
        }
        return staying;
    }

    private void take(int at, float[] logits, float most) {
        ensure(at + 1);
        kept[at] = candidates.next();
        weights[at] = weight(logits[kept[at]], most);
    }

    /** How many of the first {@code count} stay for top-p. */
    private int nucleus(int count) {
        double total = 0;
        for (int i = 0; i < count; i++) {
            total += weights[i];
        }
        int staying = 0;
        for (double above = 0; staying < count && stays(staying, above, total); above += weights[staying - 1]) {
            staying++;
        }
        return staying;
    }

    /** Top-p's rule for the token at place {@code at}, those before which weigh {@code above}. */
    private boolean stays(int at, double above, double total) {
        return at == 0 || sampling.topP() == 1 || above < sampling.topP() * total;
    }

    private void ensure(int size) {
        if (weights.length < size) {
            int grown = Math.max(size, 2 * weights.length);
            kept = Arrays.copyOf(kept, grown);
            weights = Arrays.copyOf(weights, grown);
        }
    }

    /** An index below {@code count}, with a chance in proportion to its weight. */
    private int choose(int count) {
        double total = 0;
        for (int i = 0; i < count; i++) {
            total += weights[i];
        }
        double at = random.nextDouble() * total;
        int last = 0;
        for (int i = 0; i < count; i++) {
            if (weights[i] > 0) {
                last = i;
                at -= weights[i];
                if (at < 0) {
                    return i;
                }
            }
        }
        return last;
    }
}
