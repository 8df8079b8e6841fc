package io.inlay.generation;

import io.inlay.Problem;
import java.util.OptionalLong;
import java.util.SplittableRandom;

/**
 * How the next token is drawn.
 *
 * @param temperature divides the logits; 0 takes the most likely token
 * @param topP nucleus: the fewest tokens whose probabilities reach this together, at least one; 1 keeps all
 * @param topK the likeliest k tokens and what ties with the last of them; 0 keeps all
 * @param minP of what is left, keeps tokens of at least this share of the likeliest one's probability; 0 keeps all
 * @param seed makes the draws repeatable; empty draws afresh
 */
public record Sampling(double temperature, double topP, int topK, double minP, OptionalLong seed) {

    /** Always the most likely token. */
    public static final Sampling GREEDY = new Sampling(0, 1, 0, OptionalLong.empty());

    /** Without min-p. */
    public Sampling(double temperature, double topP, int topK, OptionalLong seed) {
        this(temperature, topP, topK, 0, seed);
    }

    public Sampling {
        if (!(temperature >= 0 && temperature <= 100)) {
            throw refused("temperature", temperature, "a number from 0 (greedy) to 100");
        }
        if (!(topP >= 0 && topP <= 1)) {
            throw refused("top_p", topP, "a number from 0 to 1 (off)");
        }
        if (!(minP >= 0 && minP <= 1)) {
            throw refused("min_p", minP, "a number from 0 (off) to 1");
        }
        if (topK < 0) {
            throw refused("top_k", topK, "0 (off) or a positive number");
        }
    }

    /**
     * The same for another of a request's answers: the first draws with the seed itself, each other with one made of it.
     *
     * @param choice from 0
     */
    public Sampling ofChoice(int choice) {
        if (seed.isEmpty() || choice == 0) {
            return this;
        }
        SplittableRandom seeds = new SplittableRandom(seed.getAsLong());
        return new Sampling(temperature, topP, topK, minP, seeds.longs(choice).reduce((_, last) -> last));
    }

    private static Problem refused(String name, Object value, String allowed) {
        return new Problem(Problem.Code.INVALID_REQUEST, name + " is " + value + "; it must be " + allowed);
    }
}
