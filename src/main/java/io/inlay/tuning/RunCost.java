package io.inlay.tuning;

import java.time.Duration;
import java.util.Optional;

/**
 * What a run would take, estimated before it begins by {@link Calibration}.
 *
 * @param data what there is to read
 * @param memory while it runs
 * @param time from its beginning to its end, the server being as busy as it was
 * @param warmUp where its sums would live; empty for methods without a warm-up
 */
public record RunCost(Data data, Memory memory, Time time, Optional<WarmUpPlacement> warmUp) {

    /**
     * The training examples.
     *
     * @param tokens of all, once
     * @param targets of these that are predicted
     * @param longest tokens of the longest
     * @param largestPart tokens of the largest part of a batch that goes through the model at once
     */
    public record Data(int examples, int validationExamples, long tokens, long targets, int longest, int largestPart) {
    }

    /**
     * Bytes.
     *
     * @param base of the model's weights, which serving holds already
     * @param trained of the weights that move and their gradients
     * @param optimizer of their masters and two moments
     * @param warmUp of the warm-up's sums, given back before training begins
     * @param warmUpOnDevice of these where the model is
     * @param warmUpActivations of scratch memory for the largest part during the warm-up, without logits
     * @param activations likewise during training
     * @param logits of a chunk
     */
    public record Memory(long base, long trained, long optimizer, long warmUp, long warmUpOnDevice, long warmUpActivations,
            long activations, long logits) {

        /** On the model's device beside the base, at the worst moment. */
        public long own() {
            return Math.max(warmUpOnDevice + warmUpActivations, trained + optimizer + activations) + logits;
        }

        public long peak() {
            return base + own();
        }
    }

    /**
     * How long, and how that is known.
     *
     * @param validation all losses on the validation examples
     * @param metrics all answers that metrics judge, if each is as long as its reference
     * @param measuredTokens of the largest part that was passed through the model; less than the largest part when that took too long
     * @param passes that were timed
     * @param spent on the calibration
     */
    public record Time(Duration warmUp, Duration training, Duration validation, Duration metrics, int measuredTokens, int passes,
            Duration spent) {

        public Duration total() {
            return warmUp.plus(training).plus(validation).plus(metrics);
        }
    }
}
