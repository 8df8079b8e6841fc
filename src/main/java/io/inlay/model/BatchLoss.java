package io.inlay.model;

/**
 * The loss of a batch.
 *
 * @param sum of -log p over the targets, in nats
 * @param targets how many there were
 */
public record BatchLoss(double sum, int targets) {

    /** Loss per target; NaN when there is none. */
    public double mean() {
        return sum / targets;
    }

    public BatchLoss plus(BatchLoss other) {
        return new BatchLoss(sum + other.sum, targets + other.targets);
    }
}
