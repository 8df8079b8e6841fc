package io.inlay.generation.grammar;

import java.util.Arrays;
import java.util.BitSet;

/**
 * The tokens that may come at a place, and what an answer owes after each: the fewest bytes to its end. Of the owed length that most
 * tokens share they are not listed, since they follow from all and the others. Immutable.
 */
final class TokenMask {

    private final BitSet all;
    /** Owed lengths, ascending, and the tokens of each: of {@code owed[i]} those from {@code starts[i]} to {@code starts[i + 1]}. */
    private final int[] owed;
    private final int[] starts;
    private final int[] tokens;
    private final int unlisted;

    private TokenMask(BitSet all, int[] owed, int[] starts, int[] tokens, int unlisted) {
        this.all = all;
        this.owed = owed;
        this.starts = starts;
        this.tokens = tokens;
        this.unlisted = unlisted;
    }

    /** All of them; only to be read. */
    BitSet all() {
        return all;
    }

    /** What is owed at most after any of them. */
    int most() {
        return owed.length == 0 ? 0 : owed[owed.length - 1];
    }

    /** Those after which no more than {@code limit} is owed; only to be read. */
    BitSet within(int limit) {
        if (most() <= limit) {
            return all;
        }
        int over = 0;
        while (owed[over] <= limit) {
            over++;
        }
        if (unlisted < over) {
            BitSet left = (BitSet) all.clone();
            for (int i = starts[over]; i < tokens.length; i++) {
                left.clear(tokens[i]);
            }
            return left;
        }
        BitSet few = new BitSet(all.size());
        for (int i = 0; i < starts[over]; i++) {
            few.set(tokens[i]);
        }
        return few;
    }

    /** What it takes of memory. */
    long bytes() {
        return all.size() / Byte.SIZE + (long) Integer.BYTES * (owed.length + starts.length + tokens.length);
    }

    /** Takes tokens in, by their places in the tree, with what is owed after them. */
    static final class Collector {
        private final TokenTrie trie;
        private final BitSet all;
        /** Runs of places with the same owed length: {@code [froms[i], tos[i])}. */
        private int[] froms = new int[64];
        private int[] tos = new int[64];
        private int[] owed = new int[64];
        private int count;

        /** @param vocabulary ids are below it */
        Collector(TokenTrie trie, int vocabulary) {
            this.trie = trie;
            this.all = new BitSet(vocabulary);
        }

        /** Places from one to another, the last not included; they come in their order. */
        void add(int from, int to, int bytes) {
            if (from == to) {
                return;
            }
            if (count > 0 && tos[count - 1] == from && owed[count - 1] == bytes) {
                tos[count - 1] = to;
                return;
            }
            if (count == froms.length) {
                froms = Arrays.copyOf(froms, 2 * count);
                tos = Arrays.copyOf(tos, 2 * count);
                owed = Arrays.copyOf(owed, 2 * count);
            }
            froms[count] = from;
            tos[count] = to;
            owed[count++] = bytes;
        }

        TokenMask mask() {
            int[] distinct = distinctOwed();
            int[] sizes = new int[distinct.length];
            for (int i = 0; i < count; i++) {
                owed[i] = Arrays.binarySearch(distinct, owed[i]); // from here on its place among the distinct ones
                sizes[owed[i]] += tos[i] - froms[i];
            }
            int largest = 0;
            for (int i = 1; i < sizes.length; i++) {
                largest = sizes[i] > sizes[largest] ? i : largest;
            }
            int[] starts = new int[distinct.length + 1];
            for (int i = 0; i < sizes.length; i++) {
                starts[i + 1] = starts[i] + (i == largest ? 0 : sizes[i]);
            }
            int[] listed = new int[starts[distinct.length]];
            int[] next = starts.clone();
            for (int i = 0; i < count; i++) {
                for (int place = froms[i]; place < tos[i]; place++) {
                    all.set(trie.id(place));
                    if (owed[i] != largest) {
                        listed[next[owed[i]]++] = trie.id(place);
                    }
                }
            }
            return new TokenMask(all, distinct, starts, listed, largest);
        }

        private int[] distinctOwed() {
            int[] sorted = Arrays.copyOf(owed, count);
            Arrays.sort(sorted);
            int distinct = 0;
            for (int i = 0; i < count; i++) {
                if (i == 0 || sorted[i] != sorted[i - 1]) {
                    sorted[distinct++] = sorted[i];
                }
            }
            return Arrays.copyOf(sorted, distinct);
        }
    }
}
