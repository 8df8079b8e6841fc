package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.kernels.Draw;
import io.inlay.kernels.Kernels;
import java.util.SplittableRandom;

/**
 * The draws of one request's tokens, by {@link Kernels#draw}: a seed and the same logits give the same tokens, on whatever device they are
 * drawn. Each token takes one random number. Has random state, so each request has its own, on one thread at a time.
 */
final class Sampler {

    private final Sampling sampling;
    private final String model;
    private final Kernels kernels;
    private final SplittableRandom random;

    /**
     * @param model the name of what answers, for refusals
     * @param kernels draw of logits that are on the host
     */
    Sampler(Sampling sampling, String model, Kernels kernels) {
        this.sampling = sampling;
        this.model = model;
        this.kernels = kernels;
        this.random = sampling.seed().isPresent() ? new SplittableRandom(sampling.seed().getAsLong()) : new SplittableRandom();
    }

    /** How the next token is drawn. */
    Draw draw() {
        return sampling.temperature() == 0 ? Draw.GREEDY
                : new Draw(sampling.temperature(), sampling.topK(), sampling.topP(), sampling.minP(), random.nextLong());
    }

    /**
     * The next token's id, drawn here of logits [V], which are only read.
     *
     * @throws Problem {@code NOT_FINITE}, naming the model, when the logits are no distribution
     */
    int next(float[] logits) {
        int id = kernels.draw(logits, draw());
        if (id < 0) {
            throw notFinite(-1 - id, logits[-1 - id]);
        }
        return id;
    }

    /** Of a token's logit, by which the logits are no distribution. */
    Problem notFinite(int token, float logit) {
        return new Problem(Problem.Code.NOT_FINITE, "model " + model + " gave " + logit + " as the logit of token " + token
                + "; its weights are damaged or its fine-tuning diverged: check the files, or train again with a lower learning rate");
    }
}
