package io.inlay.generation;

import io.inlay.Problem;
import java.util.OptionalLong;

/**
 * How the next token is drawn.
 *
 * @param temperature divides the logits; 0 takes the most likely token
 * @param topP nucleus: the fewest tokens whose probabilities reach this together, at least one; 1 keeps all
 * @param topK the likeliest k tokens and what ties with the last of them; 0 keeps all
 * @param seed makes the draws repeatable; empty draws afresh
 */
public record Sampling(double temperature, double topP, int topK, OptionalLong seed) {

    /** Always the most likely token. */
    public static final Sampling GREEDY = new Sampling(0, 1, 0, OptionalLong.empty());

    public Sampling {
        if (!(temperature >= 0 && temperature <= 100)) {
            throw refused("temperature", temperature, "a number from 0 (greedy) to 100");
        }
        if (!(topP >= 0 && topP <= 1)) {
            throw refused("top_p", topP, "a number from 0 to 1 (off)");
        }
        if (topK < 0) {
            throw refused("top_k", topK, "0 (off) or a positive number");
        }
    }

    private static Problem refused(String name, Object value, String allowed) {
        return new Problem(Problem.Code.INVALID_REQUEST, name + " is " + value + "; it must be " + allowed);
    }
}
