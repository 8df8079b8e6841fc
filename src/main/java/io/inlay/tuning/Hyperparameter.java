package io.inlay.tuning;

import io.inlay.Problem;

/** Refusals of hyperparameters, one wording for all: the name as users write it, the value given, what is allowed. */
final class Hyperparameter {

    private Hyperparameter() {
    }

    static void within(String name, long value, long least, long most) {
        if (value < least || value > most) {
            throw refused(name, value, "it must be " + least + " to " + most);
        }
    }

    /** Refuses NaN too. */
    static void within(String name, double value, double least, double most) {
        if (!(value >= least && value <= most)) {
            throw refused(name, value, "it must be " + least + " to " + most);
        }
    }

    /** Above {@code least}, up to {@code most}; refuses NaN too. */
    static void above(String name, double value, double least, double most) {
        if (!(value > least && value <= most)) {
            throw refused(name, value, "it must be over " + least + " and at most " + most);
        }
    }

    static <T> T present(String name, T value) {
        if (value == null) {
            throw refused(name, "missing", "give one");
        }
        return value;
    }

    static Problem refused(String name, Object value, String allowed) {
        return refused(name + " is " + value + "; " + allowed);
    }

    static Problem refused(String message) {
        return new Problem(Problem.Code.INVALID_HYPERPARAMETERS, message);
    }
}
