package io.inlay.generation;

import io.inlay.Problem;

/** What a generation tells its listener; exactly one {@link Finished} or {@link Failed} comes last. */
public sealed interface GenerationEvent {

    /**
     * A token was drawn: one event each, end token included. The texts add up to the answer: whole characters only, stop strings never.
     *
     * @param text what the token let out; empty while a character or a possible stop string is under way
     * @param token its id
     * @param scores how likely it was, and what else was; null unless the request asks for it
     */
    record Text(String text, int token, TokenScores scores) implements GenerationEvent {

        public Text(String text, int token) {
            this(text, token, null);
        }
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
