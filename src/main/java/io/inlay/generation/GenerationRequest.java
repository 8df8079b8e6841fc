package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.store.DeltaVersion;
import java.util.List;
import java.util.Optional;

/**
 * One generation.
 *
 * @param delta whose blocks are laid over the base; empty for the base itself
 * @param prompt token ids, one at least
 * @param maxTokens to draw; the context's end may come first
 * @param stop strings that end the text
 */
public record GenerationRequest(Optional<DeltaVersion> delta, int[] prompt, Sampling sampling, int maxTokens, List<String> stop) {

    public GenerationRequest {
        stop = List.copyOf(stop);
        if (prompt.length == 0) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "prompt is empty; give at least one token of text");
        }
        if (maxTokens < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "max_tokens is " + maxTokens + "; it must be at least 1");
        }
    }
}
