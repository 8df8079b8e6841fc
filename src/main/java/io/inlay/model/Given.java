package io.inlay.model;

/** What a row of a step is given for what it {@link Asked asked}. */
public sealed interface Given {

    Given NOTHING = new Nothing();

    /** To who asked for nothing. */
    record Nothing() implements Given {
    }

    /** @param values [V] */
    record Logits(float[] values) implements Given {
    }

    /** The token that was drawn. */
    record Token(int id) implements Given {
    }

    /**
     * No token, since the logits are no distribution.
     *
     * @param token the first whose logit shows it
     * @param logit not a number, or infinite
     */
    record Refused(int token, float logit) implements Given {
    }
}
