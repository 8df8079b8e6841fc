package io.inlay.api;

import io.inlay.generation.Grammars;
import io.inlay.generation.TokenScores;
import io.inlay.model.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Tokens as log-probabilities show them: by their text, with the replacement character for bytes that are no whole character. */
record TokenNames(Grammars grammars, Tokenizer tokenizer) {

    String text(int token) {
        byte[] bytes = token < grammars.tokens().bytes().length ? grammars.tokens().bytes()[token] : null;
        return bytes == null ? tokenizer.text(token) : new String(bytes, StandardCharsets.UTF_8);
    }

    AnswerWire.TokenLogprob logprob(int token, TokenScores scores) {
        List<AnswerWire.TokenLogprob> likeliest = new ArrayList<>();
        scores.likeliest().forEach(each -> likeliest.add(new AnswerWire.TokenLogprob(text(each.token()), each.logProbability(),
                bytes(each.token()),
                null)));
        return new AnswerWire.TokenLogprob(text(token), scores.logProbability(), bytes(token), likeliest);
    }

    /** With the token itself, whether it is among the likeliest or not. */
    Map<String, Double> likeliest(int token, TokenScores scores) {
        Map<String, Double> likeliest = new LinkedHashMap<>();
        scores.likeliest().forEach(each -> likeliest.putIfAbsent(text(each.token()), each.logProbability()));
        likeliest.putIfAbsent(text(token), scores.logProbability());
        return likeliest;
    }

    private List<Integer> bytes(int token) {
        byte[] known = token < grammars.tokens().bytes().length ? grammars.tokens().bytes()[token] : null;
        byte[] bytes = known == null ? tokenizer.text(token).getBytes(StandardCharsets.UTF_8) : known;
        List<Integer> values = new ArrayList<>();
        for (byte each : bytes) {
            values.add(each & 0xFF);
        }
        return values;
    }
}
