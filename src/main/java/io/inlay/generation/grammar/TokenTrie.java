package io.inlay.generation.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The bytes of a vocabulary's tokens as a tree, its nodes in preorder: a node is one more byte than its parent. The tokens of a whole
 * subtree stand together, and what bytes a subtree has is known, so that subtrees are left out, or taken in, by a jump. Immutable.
 */
final class TokenTrie {

    /** By node: its byte, how deep it is (1 for a first byte), where its subtree ends, where its tokens begin in {@link #ids}. */
    private final byte[] bytes;
    private final int[] depths;
    private final int[] ends;
    private final int[] starts;
    /** By node: how many bytes, or characters, deeper its subtree reaches; which are in it; whether characters are meant. */
    private final int[] heights;
    private final ByteSet[] below;
    private final boolean[] whole;
    /** By node: where its last byte is in UTF-8, and how many characters begin up to there. */
    private final byte[] utf8;
    private final int[] characterDepths;
    /** Tokens by their bytes, and their nodes. */
    private final int[] ids;
    private final int[] nodes;
    private final int deepest;

    /**
     * @param tokens the bytes of each id; null or empty for what has none
     */
    TokenTrie(byte[][] tokens) {
        List<Integer> sorted = new ArrayList<>();
        int mostNodes = 0;
        for (int id = 0; id < tokens.length; id++) {
            if (tokens[id] != null && tokens[id].length > 0) {
                sorted.add(id);
                mostNodes += tokens[id].length;
            }
        }
        sorted.sort((a, b) -> Arrays.compareUnsigned(tokens[a], tokens[b]));
        this.ids = sorted.stream().mapToInt(id -> id).toArray();
        this.nodes = new int[ids.length];
        byte[] values = new byte[mostNodes];
        int[] levels = new int[mostNodes];
        int[] firsts = new int[mostNodes + 1];
        int count = 0;
        byte[] before = {};
        for (int at = 0; at < ids.length; at++) {
            byte[] now = tokens[ids[at]];
            int shared = Arrays.mismatch(before, now);
            for (int depth = shared < 0 ? now.length : shared; depth < now.length; depth++) {
                values[count] = now[depth];
                levels[count] = depth + 1;
                firsts[count++] = at;
            }
            nodes[at] = count - 1;
            before = now;
        }
        firsts[count] = ids.length;
        this.bytes = Arrays.copyOf(values, count);
        this.depths = Arrays.copyOf(levels, count);
        this.starts = Arrays.copyOf(firsts, count + 1);
        this.deepest = Arrays.stream(depths).max().orElse(0);
        this.ends = new int[count];
        this.heights = new int[count];
        this.below = new ByteSet[count];
        this.whole = new boolean[count];
        this.utf8 = new byte[count];
        this.characterDepths = new int[count];
        boolean[] broken = findCharacters();
        findSubtrees(broken);
    }

    /** Reads the tokens as UTF-8; what is none is read on from there, and told. */
    private boolean[] findCharacters() {
        boolean[] broken = new boolean[bytes.length];
        int[] path = new int[deepest + 1];
        int[] begun = new int[deepest + 1];
        for (int node = 0; node < bytes.length; node++) {
            int depth = depths[node];
            int state = Utf8.next(path[depth - 1], value(node));
            broken[node] = state == Utf8.BROKEN;
            path[depth] = broken[node] ? Math.max(Utf8.WHOLE, Utf8.next(Utf8.WHOLE, value(node))) : state;
            begun[depth] = begun[depth - 1] + (Utf8.continues(value(node)) ? 0 : 1);
            utf8[node] = (byte) path[depth];
            characterDepths[node] = begun[depth];
        }
        return broken;
    }

    /** What lies below a node, in bytes and in characters, as far as it was seen. */
    private static final class Below {
        private ByteSet bytes = ByteSet.NONE;
        private ByteSet characters = ByteSet.NONE;
        private int height;
        private int characterHeight;
        private boolean whole = true;

        /** Takes a node in with what is below it. */
        void take(int value, Below under, boolean nodeWhole) {
            boolean first = !Utf8.continues(value);
            bytes = bytes.joined(under.bytes).with(value);
            characters = characters.joined(first ? under.characters.with(value) : under.characters);
            height = Math.max(height, 1 + under.height);
            characterHeight = Math.max(characterHeight, (first ? 1 : 0) + under.characterHeight);
            whole &= under.whole && nodeWhole;
        }
    }

    /** From the last node to the first. */
    private void findSubtrees(boolean[] broken) {
        Map<ByteSet, ByteSet> shared = new HashMap<>();
        Below[] found = new Below[deepest + 2]; // by depth, of the nodes since the last that was less deep
        int[] after = new int[deepest + 2]; // by depth, the nearest node to the right that is no deeper
        Arrays.setAll(found, _ -> new Below());
        Arrays.fill(after, bytes.length);
        for (int node = bytes.length - 1; node >= 0; node--) {
            int depth = depths[node];
            Below under = found[depth + 1];
            boolean between = utf8[node] == Utf8.WHOLE;
            whole[node] = between && under.whole;
            below[node] = shared.computeIfAbsent(whole[node] ? under.characters : under.bytes, set -> set);
            heights[node] = whole[node] ? under.characterHeight : under.height;
            ends[node] = after[depth];
            found[depth].take(value(node), under, !broken[node] && (between || starts[node] == starts[node + 1]));
            found[depth + 1] = new Below();
            Arrays.fill(after, depth, after.length, node);
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

    /** Whether the node ends a character, and what is below it, to each token's end, is whole characters in UTF-8. */
    boolean whole(int node) {
        return whole[node];
    }

    /** Whether the node is within a character. */
    boolean withinCharacter(int node) {
        return utf8[node] != Utf8.WHOLE;
    }

    /** How many bytes the longest token of the subtree has beyond the node; characters, where it is {@link #whole}. */
    int height(int node) {
        return heights[node];
    }

    /** The bytes in the subtree, without the node's own; where it is {@link #whole}, those that characters begin with. */
    ByteSet below(int node) {
        return below[node];
    }

    /** Where the tokens begin of a node and of those behind it, for {@link #id}. */
    int start(int node) {
        return starts[node];
    }

    /** Where the node's own tokens end, and its subtree's others begin. */
    int startBelow(int node) {
        return starts[node + 1];
    }

    /** The token at a place. */
    int id(int place) {
        return ids[place];
    }

    /** How far the token at a place is below one of the nodes above it, as {@link #height} counts. */
    int distance(int node, int place) {
        int at = nodes[place];
        return whole[node] ? characterDepths[at] - characterDepths[node] : depths[at] - depths[node];
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
