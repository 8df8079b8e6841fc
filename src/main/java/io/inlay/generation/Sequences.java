package io.inlay.generation;

import io.inlay.model.WeightOverlay;

/** Where the engine's steps meet the model: sequences that are opened, stepped one at a time and closed. */
interface Sequences extends AutoCloseable {

    /** A sequence for at most {@code capacity} positions over the base with the overlay laid on it. */
    Sequence open(int capacity, WeightOverlay overlay);

    @Override
    void close();

    /** One prompt and what follows it. */
    interface Sequence extends AutoCloseable {

        /** Takes the prompt; logits [V] after it. */
        float[] prefill(int[] tokens);

        /** Takes one token; logits [V] after it. */
        float[] decode(int token);

        /** Bytes of keys and values. */
        long bytes();

        @Override
        void close();
    }
}
