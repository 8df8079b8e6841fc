package io.inlay.generation.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The bytes of a vocabulary's tokens as a tree, its nodes in preorder: a node is one more byte than its parent, and whole subtrees are
 * left out by a jump. Immutable.
 */
final class TokenTrie {

    /** By node: its byte, how deep it is (1 for a first byte), where its subtree ends, and its tokens. */
    private final byte[] bytes;
    private final int[] depths;
    private final int[] ends;
    private final int[][] tokens;
    private final int deepest;

    /**
     * @param tokens the bytes of each id; null or empty for what has none
     */
    TokenTrie(byte[][] tokens) {
        List<Integer> sorted = new ArrayList<>();
        for (int id = 0; id < tokens.length; id++) {
            if (tokens[id] != null && tokens[id].length > 0) {
                sorted.add(id);
            }
        }
        sorted.sort((a, b) -> Arrays.compareUnsigned(tokens[a], tokens[b]));
        Growing made = new Growing();
        byte[] before = {};
        for (int id : sorted) {
            byte[] now = tokens[id];
            int shared = Arrays.mismatch(before, now);
            int from = shared < 0 ? now.length : shared;
            for (int depth = from; depth < now.length; depth++) {
                made.add(now[depth], depth + 1);
            }
            made.token(id);
            before = now;
        }
        this.bytes = Arrays.copyOf(made.bytes, made.count);
        this.depths = Arrays.copyOf(made.depths, made.count);
        this.tokens = Arrays.copyOf(made.tokens, made.count);
        this.deepest = Arrays.stream(depths).max().orElse(0);
        this.ends = new int[made.count];
        int[] open = new int[deepest + 2];
        Arrays.fill(open, -1);
        for (int node = made.count - 1; node >= 0; node--) {
            ends[node] = made.count;
            for (int depth = 1; depth <= depths[node]; depth++) {
                if (open[depth] >= 0) {
                    ends[node] = Math.min(ends[node], open[depth]);
                }
            }
            open[depths[node]] = node;
            Arrays.fill(open, depths[node] + 1, open.length, -1);
        }
    }

    private static final class Growing {
        private byte[] bytes = new byte[1024];
        private int[] depths = new int[1024];
        private int[][] tokens = new int[1024][];
        private int count;

        void add(byte value, int depth) {
            if (count == bytes.length) {
                bytes = Arrays.copyOf(bytes, 2 * count);
                depths = Arrays.copyOf(depths, 2 * count);
                tokens = Arrays.copyOf(tokens, 2 * count);
            }
            bytes[count] = value;
            depths[count] = depth;
            tokens[count++] = new int[0];
        }

        void token(int id) {
            int[] grown = Arrays.copyOf(tokens[count - 1], tokens[count - 1].length + 1);
            grown[grown.length - 1] = id;
            tokens[count - 1] = grown;
        }
    }

    int size() {
        return bytes.length;
    }

    int value(int node) {
        return bytes[node] & 0xFF;
    }

    int depth(int node) {
        return depths[node];
    }

    /** The first node that is not in this node's subtree. */
    int end(int node) {
        return ends[node];
    }

    int[] tokens(int node) {
        return tokens[node];
    }

    int deepest() {
        return deepest;
    }

    /** The node of a first byte, or -1. */
    int first(int value) {
        for (int node = 0; node < bytes.length; node = ends[node]) {
            if (value(node) == value) {
                return node;
            }
        }
        return -1;
    }
}
