package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.store.DeltaVersion;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/**
 * One generation.
 *
 * @param delta whose blocks are laid over the base; empty for the base itself
 * @param prompt token ids, one at least
 * @param maxTokens to draw; the context's end may come first
 * @param stop strings that end the text, none of them empty; the answer ends before the first
 * @param steering what is done to logits before a token is drawn
 * @param alternatives tokens whose log-probabilities are told with each drawn one's; -1 tells none
 */
public record GenerationRequest(Optional<DeltaVersion> delta, int[] prompt, Sampling sampling, int maxTokens, List<String> stop,
        Steering steering, int alternatives) {

    /** Neither steered nor scored. */
    public GenerationRequest(Optional<DeltaVersion> delta, int[] prompt, Sampling sampling, int maxTokens, List<String> stop) {
        this(delta, prompt, sampling, maxTokens, stop, Steering.NONE, -1);
    }

    public GenerationRequest {
        prompt = prompt.clone();
        stop = List.copyOf(stop);
        if (prompt.length == 0) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "prompt is empty; give at least one token of text");
        }
        if (maxTokens < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "max_tokens is " + maxTokens + "; it must be at least 1");
        }
        for (String each : stop) {
            if (each.isEmpty()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "stop has an empty string; leave it out, or give the text to stop at");
            }
            if (!StandardCharsets.UTF_16.newEncoder().canEncode(each)) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "stop has a string with half a character (an unpaired surrogate); "
                        + "give whole characters");
            }
        }
    }
}
