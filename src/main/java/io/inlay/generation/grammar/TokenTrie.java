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
    /** By node: how many bytes deeper its subtree reaches, and which bytes are in it below the node. */
    private final int[] heights;
    private final ByteSet[] below;
    private final boolean[] endsCharacter;
    /** Tokens by their bytes, and how many bytes they have. */
    private final int[] ids;
    private final int[] lengths;
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
        this.lengths = sorted.stream().mapToInt(id -> tokens[id].length).toArray();
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
        this.endsCharacter = new boolean[count];
        close();
        findCharacters();
    }

    /** Finds what lies below each node, from the last to the first. */
    private void close() {
        Map<ByteSet, ByteSet> shared = new HashMap<>();
        ByteSet[] found = new ByteSet[deepest + 2]; // by depth, of the nodes since the last that was less deep
        int[] reach = new int[deepest + 2];
        int[] after = new int[deepest + 2]; // by depth, the nearest node to the right that is no deeper
        Arrays.fill(found, ByteSet.NONE);
        Arrays.fill(after, bytes.length);
        for (int node = bytes.length - 1; node >= 0; node--) {
            int depth = depths[node];
            below[node] = shared.computeIfAbsent(found[depth + 1], set -> set);
            heights[node] = reach[depth + 1];
            ends[node] = after[depth];
            found[depth] = found[depth].joined(found[depth + 1]).with(value(node));
            reach[depth] = Math.max(reach[depth], 1 + reach[depth + 1]);
            found[depth + 1] = ByteSet.NONE;
            reach[depth + 1] = 0;
            Arrays.fill(after, depth, after.length, node);
        }
    }

    private void findCharacters() {
        int[] missing = new int[deepest + 1]; // by depth, bytes to the end of a character of UTF-8
        for (int node = 0; node < bytes.length; node++) {
            int value = value(node);
            int depth = depths[node];
            missing[depth] = value < 0x80 ? 0 : value < 0xC0 ? Math.max(0, missing[depth - 1] - 1) : value < 0xE0 ? 1 : value < 0xF0 ? 2 : 3;
            endsCharacter[node] = missing[depth] == 0;
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

    /** How many bytes the longest token of the subtree has beyond the node. */
    int height(int node) {
        return heights[node];
    }

    /** The bytes in the subtree, without the node's own. */
    ByteSet below(int node) {
        return below[node];
    }

    /** Whether the text up to the node is made of whole characters, so far as it can be seen. */
    boolean endsCharacter(int node) {
        return endsCharacter[node];
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

    /** The bytes of the token at a place. */
    int length(int place) {
        return lengths[place];
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
