package io.inlay.tuning;

/**
 * When to end before the last step.
 *
 * @param patience evaluations in a row without improvement after which the run ends
 * @param minDelta how much lower than the best before a validation loss must be to count as an improvement
 */
public record EarlyStop(int patience, double minDelta) {

    public EarlyStop {
        Hyperparameter.within("early_stop_patience", patience, 1, 1_000_000);
        Hyperparameter.within("early_stop_min_delta", minDelta, 0, 1e6);
    }
}
