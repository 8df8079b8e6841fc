package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;

/** Whether a prompt can be taken at all. */
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
        for (int token : prompt) {
            if (token < 0 || token >= model.config().vocabularySize()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "the prompt has token " + token + "; model " + model.name()
                        + " has tokens 0 to " + (model.config().vocabularySize() - 1));
            }
        }
    }
}
