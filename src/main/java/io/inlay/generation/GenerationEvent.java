package io.inlay.generation;

import io.inlay.Problem;

/** What a generation tells its listener; exactly one {@link Finished} or {@link Failed} comes last. */
public sealed interface GenerationEvent {

    /**
     * More text; whole characters only, stop strings never.
     *
     * @param token the id that completed it, -1 for text that was held back until the end
     */
    record Text(String text, int token) implements GenerationEvent {
    }

    /**
     * The end.
     *
     * @param completionTokens drawn, an end token included
     */
    record Finished(FinishReason reason, int promptTokens, int completionTokens) implements GenerationEvent {
    }

    /** It could not go on. */
    record Failed(Problem problem) implements GenerationEvent {
    }
}
