package io.inlay.generation.grammar;

import io.inlay.Problem;
import java.util.Arrays;
import java.util.BitSet;

/**
 * A grammar over one vocabulary: at each place of an answer, the tokens that may come next. Masks are kept by place, so that they are
 * worked out once for all answers. Thread-safe.
 *
 * <p>Answers end: a token is left out when what it begins could not be ended in the tokens that are left, each taken for one byte. So an
 * answer that is given at least as many tokens as its shortest form has bytes is always whole.
 */
public final class TokenGrammar {

    /** What an answer owes at most, in bytes to its end: this bounds how deep JSON is nested, too, which readers of JSON bound at 1000. */
    private static final int MOST_OWED = 512;

    private final Automaton automaton;
    private final Vocabulary vocabulary;
    private final int mostOwed;

    /**
     * @param most bytes to the end after any of the tokens
     */
    record Mask(BitSet tokens, int most) {
    }

    /**
     * @throws Problem {@code INVALID_REQUEST} for a grammar that is none, or is too large
     */
    public TokenGrammar(Grammar grammar, Vocabulary vocabulary) {
        this.automaton = new Automaton(grammar);
        this.vocabulary = vocabulary;
        this.mostOwed = Math.max(MOST_OWED, 2 * automaton.start().shortest());
    }

    /** Bytes of the shortest answer. */
    public int shortest() {
        return automaton.start().shortest();
    }

    /**
     * An answer that is about to begin.
     *
     * @param tokens that it may have, one at least
     */
    public Walk begin(int tokens) {
        return new Walk(tokens);
    }

    /** One answer on its way through the grammar. Confined to one thread at a time. */
    public final class Walk {
        private Automaton.State state = automaton.start();
        private boolean first = true;
        private int left;

        private Walk(int tokens) {
            this.left = tokens;
        }

        /** The tokens that may come next; only to be read, and only until the next step. Without one the answer has to end. */
        public BitSet allowed() {
            synchronized (automaton) {
                int owed = Math.max(left, state.shortest()) - 1;
                int limit = Math.min(owed, mostOwed);
                if (first && vocabulary.dropsFirstSpace()) {
                    return walk(limit, true).tokens();
                }
                if (state.mask == null) {
                    automaton.forgetIfLarge();
                    state.mask = walk(Nodes.NEVER, false);
                }
                if (state.mask.most() <= limit) {
                    return state.mask.tokens();
                }
                BitSet within = walk(limit, false).tokens();
                return within.isEmpty() && !mayEnd() ? state.mask.tokens() : within;
            }
        }

        /** Whether the answer may end here. */
        public boolean mayEnd() {
            return state.accepting();
        }

        /** Whether the answer is whole and can or may have nothing more. */
        public boolean over() {
            return state.accepting() && (state.last() || left <= 0);
        }

        /**
         * Takes a token that was allowed.
         */
        public void take(int token) {
            byte[] bytes = vocabulary.bytes(token);
            int from = first && vocabulary.dropsFirstSpace() && bytes[0] == ' ' ? 1 : 0;
            synchronized (automaton) {
                for (int i = from; i < bytes.length; i++) {
                    state = automaton.step(state, bytes[i] & 0xFF);
                    if (state == null) {
                        throw new IllegalStateException("token " + token + " " + Arrays.toString(bytes) + " was not allowed here");
                    }
                }
            }
            first = false;
            left--;
        }

        private Mask walk(int limit, boolean spaceDropped) {
            TokenTrie trie = vocabulary.trie();
            BitSet allowed = new BitSet(vocabulary.size());
            int space = spaceDropped ? trie.first(' ') : -1;
            int most = space < 0 ? walk(0, trie.size(), 0, limit, allowed)
                    : Math.max(Math.max(walk(0, space, 0, limit, allowed), walk(space + 1, trie.end(space), 1, limit, allowed)),
                            walk(trie.end(space), trie.size(), 0, limit, allowed));
            return new Mask(allowed, most);
        }

        /** Marks the tokens of these nodes, whose bytes from depth {@code skipped} on count. */
        private int walk(int from, int to, int skipped, int limit, BitSet allowed) {
            TokenTrie trie = vocabulary.trie();
            Automaton.State[] path = new Automaton.State[trie.deepest() + 1];
            path[skipped] = state;
            int most = 0;
            for (int node = from; node < to;) {
                Automaton.State next = automaton.step(path[trie.depth(node) - 1], trie.value(node));
                if (next == null) {
                    node = trie.end(node);
                    continue;
                }
                path[trie.depth(node)] = next;
                int[] tokens = trie.tokens(node);
                if (tokens.length > 0 && next.shortest() <= limit) {
                    for (int token : tokens) {
                        allowed.set(token);
                    }
                    most = Math.max(most, next.shortest());
                }
                node++;
            }
            return most;
        }
    }
}
