package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.generation.grammar.TokenGrammar;
import java.util.BitSet;
import java.util.Set;

/** Forbids what the grammar does not allow next; the end is allowed where the answer may end. */
final class GrammarMask implements LogitsProcessor {

    private final TokenGrammar.Walk walk;
    private final Set<Integer> ends;
    private final String model;

    GrammarMask(TokenGrammar.Walk walk, Set<Integer> ends, String model) {
        this.walk = walk;
        this.ends = ends;
        this.model = model;
    }

    @Override
    public void process(float[] logits) {
        BitSet allowed = walk.allowed();
        boolean mayEnd = walk.mayEnd();
        if (allowed.isEmpty() && !(mayEnd && !ends.isEmpty())) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "model " + model + " has no token that could come next in the answer that "
                    + "response_format, regex or grammar asks for; ask for characters that its vocabulary has");
        }
        int from = 0;
        for (int token = allowed.nextSetBit(0); token >= 0; token = allowed.nextSetBit(token + 1)) {
            forbid(logits, from, token, mayEnd);
            from = token + 1;
        }
        forbid(logits, from, logits.length, mayEnd);
    }

    private void forbid(float[] logits, int from, int to, boolean mayEnd) {
        for (int token = from; token < to; token++) {
            if (!(mayEnd && ends.contains(token))) {
                logits[token] = Float.NEGATIVE_INFINITY;
            }
        }
    }

    @Override
    public void drew(int token) {
        if (!ends.contains(token)) {
            walk.take(token);
        }
    }

    boolean over() {
        return walk.over();
    }
}
