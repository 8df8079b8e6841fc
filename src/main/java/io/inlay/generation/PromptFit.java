package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;

/** Whether a prompt, or a text to read, can be taken at all. */
final class PromptFit {

    private PromptFit() {
    }

    /**
     * @param positions of keys and values that there is memory for
     * @throws Problem {@code CONTEXT_LENGTH_EXCEEDED} or {@code INVALID_REQUEST}
     */
    static void require(int[] prompt, LlamaModel model, int positions) {
        if (prompt.length >= model.maxContext()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the prompt has " + prompt.length + " tokens; model " + model.name()
                    + " takes " + model.maxContext() + ", the answer's included; shorten the prompt");
        }
        if (prompt.length >= positions) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the prompt has " + prompt.length
                    + " tokens; the server has memory for "
                    + positions + " in one request, the answer's included; shorten the prompt, or give inlay.generation.cache-bytes more");
        }
        requireKnown("the prompt", prompt, model);
    }

    /**
     * @param what the tokens are of, for the refusal
     * @throws Problem {@code INVALID_REQUEST} for a token that the model does not have
     */
    static void requireKnown(String what, int[] tokens, LlamaModel model) {
        for (int token : tokens) {
            if (token < 0 || token >= model.config().vocabularySize()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, what + " has token " + token + "; model " + model.name()
                        + " has tokens 0 to " + (model.config().vocabularySize() - 1));
            }
        }
    }
}
