package io.inlay.tuning;

import java.util.OptionalDouble;

/**
 * How far a run has come, between two steps. With the tensors that belong to it, the model, the examples and the parameters it decides
 * every bit of what follows: batches and draws are functions of seed and step, so no generator has a state of its own.
 */
public sealed interface TuningProgress {

    /** Steps of the phase that are done. */
    int steps();

    /** Scoring blocks; the tensors are {@link BlockScores#state()}. */
    record WarmingUp(int steps) implements TuningProgress {
    }

    /**
     * Moving weights; the tensors are the selection and its scores (where the method has them), {@link AdamWOptimizer#state()} and the kept
     * values of the best evaluation.
     *
     * @param tokens that went through the model in training
     * @param loss of the last step
     */
    record Training(int steps, long tokens, OptionalDouble loss, Evaluations evaluations) implements TuningProgress {

        static final Training START = new Training(0, 0, OptionalDouble.empty(), Evaluations.NONE);

        Training with(StepReport report) {
            return new Training(report.step(), tokens + report.tokens(), OptionalDouble.of(report.loss()), evaluations);
        }

        Training with(Evaluations more) {
            return new Training(steps, tokens, loss, more);
        }
    }
}
