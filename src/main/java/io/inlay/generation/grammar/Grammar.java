package io.inlay.generation.grammar;

import io.inlay.Problem;
import java.util.Map;

/**
 * A language: what an answer is, and the rules that it and they refer to.
 *
 * @param source what it was made of, for messages: {@code response_format}, {@code regex}, {@code grammar}
 */
public record Grammar(String source, Expression root, Map<String, Expression> rules) {

    public Grammar {
        rules = Map.copyOf(rules);
    }

    /** Texts that match the regular expression as a whole. */
    public static Grammar regex(String pattern) {
        return new Grammar("regex", RegexReader.whole("regex", pattern), Map.of());
    }

    /** A grammar in llama.cpp's GBNF. */
    public static Grammar gbnf(String text) {
        return EbnfReader.read(text);
    }

    static Problem refused(String message) {
        return new Problem(Problem.Code.INVALID_REQUEST, message);
    }
}
