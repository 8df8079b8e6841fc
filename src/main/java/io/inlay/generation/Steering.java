package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.generation.grammar.TokenGrammar;
import java.util.Map;
import java.util.Optional;

/**
 * What is done to logits before a token is drawn, in this order: bias, repetition, frequency and presence penalty, grammar. Then come
 * temperature, top-k, top-p and min-p ({@link Sampling}). Log-probabilities are those after this and before those: of what could be drawn
 * at temperature 1.
 *
 * @param bias added to logits, by token
 * @param frequencyPenalty subtracted for each time that the token is in the answer so far
 * @param presencePenalty subtracted once if it is
 * @param repetitionPenalty of tokens in the prompt or the answer, positive logits are divided by it and others multiplied; 1 is none
 * @param grammar what the answer must follow
 */
public record Steering(Map<Integer, Float> bias, double frequencyPenalty, double presencePenalty, double repetitionPenalty,
        Optional<TokenGrammar> grammar) {

    public static final Steering NONE = new Steering(Map.of(), 0, 0, 1, Optional.empty());

    public Steering {
        bias = Map.copyOf(bias);
        require("frequency_penalty", frequencyPenalty, frequencyPenalty >= -2 && frequencyPenalty <= 2, "a number from -2 to 2");
        require("presence_penalty", presencePenalty, presencePenalty >= -2 && presencePenalty <= 2, "a number from -2 to 2");
        require("repetition_penalty", repetitionPenalty, repetitionPenalty > 0 && repetitionPenalty <= 100,
                "a number over 0, at most 100; 1 is none");
        bias.forEach((token, value) -> require("logit_bias of token " + token, value, value >= -100 && value <= 100,
                "a number from -100 to 100"));
    }

    private static void require(String name, Object value, boolean fine, String allowed) {
        if (!fine) {
            throw new Problem(Problem.Code.INVALID_REQUEST, name + " is " + value + "; it must be " + allowed);
        }
    }
}
