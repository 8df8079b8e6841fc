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
    private final MaskCache masks;
    private final int mostOwed;

    /** With masks of its own. */
    public TokenGrammar(Grammar grammar, Vocabulary vocabulary) {
        this(grammar, vocabulary, new MaskCache());
    }

    /**
     * @param masks where they are kept, for all grammars over the vocabulary
     * @throws Problem {@code INVALID_REQUEST} for a grammar that is none, or is too large
     */
    public TokenGrammar(Grammar grammar, Vocabulary vocabulary, MaskCache masks) {
        this.automaton = new Automaton(grammar);
        this.vocabulary = vocabulary;
        this.masks = masks;
        this.mostOwed = Math.max(MOST_OWED, 2 * automaton.start().shortest());
    }

    /** Bytes of the shortest answer. */
    public int shortest() {
        return automaton.start().shortest();
    }

    /** Locked while a mask is worked out. */
    Automaton automaton() {
        return automaton;
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

        /**
         * The tokens that may come next; only to be read. Without one the answer has to end. Takes long at a place where no answer was
         * before, and waits for others that are at such places of the same grammar.
         */
        public BitSet allowed() {
            TokenMask mask = masks.get(slot());
            if (mask == null) {
                synchronized (automaton) {
                    mask = masks.get(slot());
                    if (mask == null) {
                        automaton.forgetIfLarge();
                        mask = new MaskWalk(automaton, vocabulary).from(state, dropsSpace());
                        masks.put(slot(), mask);
                    }
                }
            }
            return within(mask);
        }

        /** What {@link #allowed} gives, or null if that would have to be worked out. */
        public BitSet known() {
            TokenMask mask = masks.get(slot());
            return mask == null ? null : within(mask);
        }

        private BitSet within(TokenMask mask) {
            int limit = Math.min(Math.max(left, state.shortest()) - 1, mostOwed);
            BitSet within = mask.within(limit);
            return within.isEmpty() && !dropsSpace() && !mayEnd() ? mask.all() : within;
        }

        private boolean dropsSpace() {
            return first && vocabulary.dropsFirstSpace();
        }

        private MaskCache.Slot slot() {
            return dropsSpace() ? state.maskAfterDroppedSpace : state.mask;
        }

        /** Whether the answer may end here. */
        public boolean mayEnd() {
            return state.accepting();
        }

        /** Whether the answer is whole and can or may have nothing more. */
        public boolean over() {
            return state.accepting() && (state.last() || left <= 0);
        }

        /** Takes a token that was allowed. Its way was found with the mask, so this is quick and waits for nobody. */
        public void take(int token) {
            byte[] bytes = vocabulary.bytes(token);
            for (int i = dropsSpace() && bytes[0] == ' ' ? 1 : 0; i < bytes.length; i++) {
                state = step(bytes[i] & 0xFF);
                if (state == null) {
                    throw new IllegalStateException("token " + token + " " + Arrays.toString(bytes) + " was not allowed here");
                }
            }
            first = false;
            left--;
        }

        private Automaton.State step(int oneByte) {
            Automaton.State next = automaton.known(state, oneByte);
            if (next != null) {
                return next;
            }
            synchronized (automaton) {
                return automaton.step(state, oneByte);
            }
        }
    }
}
