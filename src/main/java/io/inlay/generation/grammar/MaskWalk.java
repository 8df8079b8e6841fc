package io.inlay.generation.grammar;

/**
 * Works out which tokens may come at a place, over the tree of the vocabulary. A byte that the grammar does not have leaves its subtree
 * out. A subtree is taken in at once if its bytes, or characters, only lead along the {@link Automaton.Run}s of the states from its node
 * on, as within a text: most of a vocabulary is words, and most of a grammar's places take any. Confined to the thread that has the
 * automaton.
 */
final class MaskWalk {

    private final Automaton automaton;
    private final TokenTrie trie;
    private final Automaton.State[] path;
    private final TokenMask.Collector found;
    private int visited;

    MaskWalk(Automaton automaton, Vocabulary vocabulary) {
        this.automaton = automaton;
        this.trie = vocabulary.trie();
        this.path = new Automaton.State[trie.deepest() + 1];
        this.found = new TokenMask.Collector(trie, vocabulary.size());
    }

    /** @param spaceDropped whether a first space is not of the answer */
    TokenMask from(Automaton.State state, boolean spaceDropped) {
        int space = spaceDropped ? trie.first(' ') : -1;
        if (space < 0) {
            walk(state, 0, trie.size(), 0);
        } else {
            walk(state, 0, space, 0);
            walk(state, space + 1, trie.end(space), 1);
            walk(state, trie.end(space), trie.size(), 0);
        }
        return found.mask();
    }

    /** Nodes that were looked at one by one. */
    int visited() {
        return visited;
    }

    /** Takes the tokens in of these nodes, whose bytes from depth {@code skipped} on count. */
    private void walk(Automaton.State state, int from, int to, int skipped) {
        path[skipped] = state;
        for (int node = from; node < to;) {
            visited++;
            int depth = trie.depth(node);
            Automaton.State next = automaton.step(path[depth - 1], trie.value(node));
            if (next == null) {
                node = trie.end(node);
                continue;
            }
            path[depth] = next;
            found.add(trie.start(node), trie.startBelow(node), next.shortest());
            if (trie.height(node) > 0 && !trie.withinCharacter(node) && runs(node, next)) {
                addSubtree(node, next);
                node = trie.end(node);
            } else {
                node++;
            }
        }
    }

    /** Whether all below the node runs, however deep. */
    private boolean runs(int node, Automaton.State state) {
        ByteSet below = trie.below(node);
        boolean byCharacters = trie.whole(node) && !below.isAscii();
        Automaton.State at = state;
        for (int height = trie.height(node); height > 0; height--) {
            Automaton.Run run = automaton.run(at);
            if (!below.isWithin(byCharacters ? automaton.characters(at) : run.bytes())) {
                return false;
            }
            if (run.next() == at) {
                return true;
            }
            at = run.next();
        }
        return true;
    }

    private void addSubtree(int node, Automaton.State state) {
        int[] owed = new int[trie.height(node)]; // after so many steps and one more
        Automaton.State at = state;
        boolean same = true;
        for (int i = 0; i < owed.length; i++) {
            at = automaton.run(at).next();
            owed[i] = at.shortest();
            same &= owed[i] == owed[0];
        }
        int from = trie.startBelow(node);
        int to = trie.start(trie.end(node));
        if (same) {
            found.add(from, to, owed[0]);
            return;
        }
        for (int place = from; place < to; place++) {
            found.add(place, place + 1, owed[trie.distance(node, place) - 1]);
        }
    }
}
