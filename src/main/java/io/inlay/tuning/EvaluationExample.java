package io.inlay.tuning;

import java.util.Optional;

/**
 * A question whose answer is known.
 *
 * @param prompt ids, at least one
 * @param reference the answer's text as it was to be written
 * @param label the answer itself, {@code answer3} or {@code 576.0}, where the data has it apart
 */
public record EvaluationExample(int[] prompt, String reference, Optional<String> label) {

    public EvaluationExample {
        if (prompt.length == 0) {
            throw new IllegalArgumentException("an evaluation example without a prompt; it has at least one token");
        }
    }
}
