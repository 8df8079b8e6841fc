package io.inlay.generation;

/** A generation under way. */
public interface Generation {

    /** Ends it before its next step; harmless when it has ended. */
    void cancel();
}
