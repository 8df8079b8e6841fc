package io.inlay.generation;

import java.util.ArrayList;
import java.util.List;

/**
 * How likely a token was among all.
 *
 * @param logProbability natural logarithm
 * @param likeliest the likeliest tokens, in order, whether it is one of them or not
 */
public record TokenScores(double logProbability, List<Alternative> likeliest) {

    /** A token that could have been drawn. */
    public record Alternative(int token, double logProbability) {
    }

    /**
     * The scores of a token by logits [V].
     *
     * @param alternatives likeliest tokens that are wanted
     */
    static TokenScores of(float[] logits, int token, int alternatives, LargestFirst order) {
        double most = Double.NEGATIVE_INFINITY;
        for (float logit : logits) {
            most = Math.max(most, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - most);
        }
        double total = most + Math.log(sum);
        List<Alternative> likeliest = new ArrayList<>();
        if (alternatives > 0) {
            order.fill(logits);
            while (likeliest.size() < alternatives && !order.isEmpty()) {
                int next = order.next();
                if (logits[next] == Float.NEGATIVE_INFINITY) {
                    break;
                }
                likeliest.add(new Alternative(next, logits[next] - total));
            }
        }
        return new TokenScores(logits[token] - total, likeliest);
    }
}
