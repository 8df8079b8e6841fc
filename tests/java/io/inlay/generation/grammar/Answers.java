package io.inlay.generation.grammar;

import io.inlay.model.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.SplittableRandom;

/** Answers as a model without any sense would give them: each token is drawn evenly of those that are allowed. */
final class Answers {

    private Answers() {
    }

    /** Tokenizers of tests/golden: one by bytes, and one of words with bytes to fall back to, whose decoder drops a first space. */
    static Tokenizer tokenizer(String name) {
        return Tokenizer.open(Path.of("tests/golden/tokenizer", name));
    }

    static boolean accepts(Grammar grammar, String text) {
        Automaton automaton = new Automaton(grammar);
        Automaton.State state = automaton.start();
        for (byte each : text.getBytes(StandardCharsets.UTF_8)) {
            state = automaton.step(state, each & 0xFF);
            if (state == null) {
                return false;
            }
        }
        return state.accepting();
    }

    /**
     * An answer's text; null if it was not whole when its tokens were used up.
     *
     * @param tokenizer that the grammar's vocabulary is of
     * @param eager the chance that the answer ends where it may
     */
    static String draw(TokenGrammar grammar, Tokenizer tokenizer, int tokens, double eager, SplittableRandom random) {
        TokenGrammar.Walk walk = grammar.begin(tokens);
        int[] ids = new int[tokens];
        int count = 0;
        while (count < tokens && !walk.over()) {
            BitSet allowed = walk.allowed();
            if (walk.mayEnd() && (allowed.isEmpty() || random.nextDouble() < eager)) {
                break;
            }
            int token = allowed.stream().skip(random.nextInt(allowed.cardinality())).findFirst().orElseThrow();
            walk.take(token);
            ids[count++] = token;
        }
        if (!walk.mayEnd()) {
            return null;
        }
        return tokenizer.decode(Arrays.copyOf(ids, count));
    }

}
