package io.inlay.kernels;

/**
 * How the next token is drawn of a row of logits; {@link Kernels#draw} has the definition.
 *
 * @param temperature divides the logits, 100 at most; 0 takes the largest, whatever else is set
 * @param topK the largest k logits and what ties with the last of them; 0 keeps all
 * @param topP the fewest tokens that weigh this share of all together, one at least; 1 keeps all
 * @param minP of what is left, tokens that weigh at least this share of the likeliest; 0 keeps all
 * @param random all of its bits are used
 */
public record Draw(double temperature, int topK, double topP, double minP, long random) {

    /** The largest logit. */
    public static final Draw GREEDY = new Draw(0, 0, 1, 0, 0);

    /** Logits of a row at most, so that weights of 40 bits add up to 62. */
    public static final int MOST_LOGITS = 1 << 22;

    /** What the likeliest token weighs. */
    static final long WHOLE = 1L << 40;

    public Draw {
        require("temperature", temperature, temperature >= 0 && temperature <= 100, "a number from 0 to 100");
        require("topK", topK, topK >= 0, "0 or a positive number");
        require("topP", topP, topP >= 0 && topP <= 1, "a number from 0 to 1");
        require("minP", minP, minP >= 0 && minP <= 1, "a number from 0 to 1");
    }

    private static void require(String name, Object value, boolean holds, String allowed) {
        if (!holds) {
            throw new IllegalArgumentException("a draw's " + name + " is " + value + "; it must be " + allowed);
        }
    }

    boolean greedy() {
        return temperature == 0;
    }

    /** Whether top-k leaves some of so many logits out. */
    boolean cutsToK(int logits) {
        return topK > 0 && topK < logits;
    }

    /** The temperature's inverse, which multiplies differences of logits; finite, however small the temperature. */
    float scale() {
        return (float) Math.min(1 / temperature, Float.MAX_VALUE);
    }

    /** What tokens that weigh {@code total} together must weigh for top-p; the first of them always does. */
    double enough(long total) {
        return Math.max(1, topP * total);
    }

    /** What a token must weigh for min-p. */
    double least() {
        return minP * WHOLE;
    }
}
