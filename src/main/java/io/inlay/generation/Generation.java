package io.inlay.generation;

import io.inlay.Problem;

/** A generation under way. */
public interface Generation {

    /** Ends it before its next step; harmless when it has ended. */
    void cancel();

    /** Ends it before its next step, as failed with this problem; harmless when it has ended. */
    void fail(Problem why);

    /** How far it has come. */
    Phases phases();

    /**
     * When a generation's phases began, in nanoseconds of {@link System#nanoTime}; 0 for those that it has not reached.
     *
     * @param submitted it waits for a place
     * @param begun its delta is asked for, if it has one
     * @param opened its prompt is taken in
     * @param drawn its first token was there
     */
    record Phases(long submitted, long begun, long opened, long drawn) {
    }
}
