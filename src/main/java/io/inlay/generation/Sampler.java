package io.inlay.generation;

import io.inlay.Problem;

/** Draws the next token from logits [V]. Keeps its own buffers and random state, so each request has its own, on one thread at a time. */
@FunctionalInterface
public interface Sampler {

    /**
     * The next token's id; the logits are only read.
     *
     * @throws Problem {@code NOT_FINITE}, naming the model, when the logits are no distribution
     */
    int next(float[] logits);

    /**
     * The sampler for these settings.
     *
     * @param model the name of what answers, for refusals
     */
    static Sampler of(Sampling sampling, String model) {
        return sampling.temperature() == 0 ? logits -> likeliest(logits, model) : new WarpedSampler(sampling, model);
    }

    /** The id of the largest logit, the lowest such id on ties. */
    private static int likeliest(float[] logits, String model) {
        int best = 0;
        for (int i = 0; i < logits.length; i++) {
            if (!(logits[i] < Float.POSITIVE_INFINITY)) {
                throw notFinite(logits[i], i, model);
            }
            if (logits[i] > logits[best]) {
                best = i;
            }
        }
        if (logits[best] == Float.NEGATIVE_INFINITY) {
            throw notFinite(logits[best], best, model);
        }
        return best;
    }

    /** The largest logit, once all have been seen to be usable. */
    static float highest(float[] logits, String model) {
        return logits[likeliest(logits, model)];
    }

    private static Problem notFinite(float logit, int token, String model) {
        return new Problem(Problem.Code.NOT_FINITE, "model " + model + " gave " + logit + " as the logit of token " + token
                + "; its weights are damaged or its fine-tuning diverged: check the files, or train again with a lower learning rate");
    }
}
