package io.inlay.tuning;

/**
 * One training example as token ids: the first {@code promptLength} are read, the rest must be predicted. The very first token has
 * nothing before it and is never predicted.
 */
public record TuningExample(int[] tokens, int promptLength) {

    public TuningExample {
        if (promptLength < 0 || tokens.length < 2 || promptLength >= tokens.length) {
            throw new IllegalArgumentException("an example of " + tokens.length + " tokens with a prompt of " + promptLength
                    + " has nothing to predict");
        }
    }

    /** Tokens that count in the loss. */
    public int targets() {
        return tokens.length - Math.max(1, promptLength);
    }
}
