package io.inlay.generation;

/**
 * Follows the serving of models, for figures. What it hears of steps comes on an engine's thread, what it hears of loads on the loads' own:
 * it must not block, nor throw.
 */
public interface ServingListener {

    /** Hears nothing. */
    ServingListener NONE = new ServingListener() {
    };

    /** A pass was made for so many generations at once. */
    default void stepped(String model, int generations) {
    }

    /** A delta of the model was loaded, or failed to be. */
    default void loaded(String model, long nanos, boolean failed) {
    }
}
