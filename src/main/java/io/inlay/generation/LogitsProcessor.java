package io.inlay.generation;

/** One step between the model's logits and the draw. Confined to one request. */
interface LogitsProcessor {

    /** Changes logits [V] in place; minus infinity forbids a token. */
    void process(float[] logits);

    /** Hears what was drawn. */
    default void drew(int token) {
    }
}
