package io.inlay.model;

import java.util.Arrays;

/**
 * Sequences laid one after another without padding; attention never crosses from one to the next.
 *
 * @param tokens ids of all sequences [N]
 * @param targets for each token the id that it must predict, or -1 where no loss is taken [N]
 * @param lengths tokens of each sequence, in order; they sum to N
 */
public record PackedBatch(int[] tokens, int[] targets, int[] lengths) {

    public PackedBatch {
        if (tokens.length != targets.length) {
            throw new IllegalArgumentException(tokens.length + " tokens have " + targets.length + " targets; each token needs one, or -1");
        }
        if (Arrays.stream(lengths).anyMatch(length -> length <= 0) || Arrays.stream(lengths).sum() != tokens.length) {
            throw new IllegalArgumentException("lengths " + Arrays.toString(lengths) + " do not add up to " + tokens.length + " tokens");
        }
    }

    /** Tokens whose prediction counts. */
    public int targetCount() {
        return (int) Arrays.stream(targets).filter(target -> target >= 0).count();
    }

    /** The longest sequence. */
    public int longest() {
        return Arrays.stream(lengths).max().orElse(0);
    }
}
