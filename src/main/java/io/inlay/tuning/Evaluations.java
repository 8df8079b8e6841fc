package io.inlay.tuning;

import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What validation has said so far. The base's own loss, before the first step, is told but is no candidate for the best: nothing has been
 * trained by then.
 *
 * @param step training steps made before the last evaluation; -1 before any
 * @param loss of the last evaluation
 * @param best the evaluation with the lowest loss
 * @param stale evaluations in a row that were not better than all before them by more than what was asked for
 */
public record Evaluations(int step, OptionalDouble loss, Optional<Best> best, int stale) {

    /** Before any evaluation. */
    public static final Evaluations NONE = new Evaluations(-1, OptionalDouble.empty(), Optional.empty(), 0);

    /** The evaluation after {@code step} training steps. */
    public record Best(int step, double loss) {
    }

    /**
     * With one more evaluation; the rule is that of transformers' EarlyStoppingCallback. A loss that is not a number is never better.
     *
     * @param minDelta how much lower than the best before a loss must be not to count as stale
     */
    public Evaluations with(int nextStep, double nextLoss, double minDelta) {
        if (nextStep == 0) {
            return new Evaluations(0, OptionalDouble.of(nextLoss), best, stale);
        }
        double before = best.map(Best::loss).orElse(Double.POSITIVE_INFINITY);
        Optional<Best> lowest = nextLoss < before ? Optional.of(new Best(nextStep, nextLoss)) : best;
        return new Evaluations(nextStep, OptionalDouble.of(nextLoss), lowest, before - nextLoss > minDelta ? 0 : stale + 1);
    }

    /** Whether the last evaluation was the best. */
    boolean lastIsBest() {
        return best.isPresent() && best.get().step() == step;
    }
}
