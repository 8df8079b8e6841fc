package io.inlay.generation.grammar;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * A grammar as a nondeterministic pushdown automaton over bytes, made deterministic as far as it is walked. A {@link State} is a set of
 * places, each a node with the stack of nodes to return to; stacks share their tails, and states are kept, so a byte is mostly one array
 * look-up. Confined to one thread at a time.
 */
final class Automaton {

    private static final int MOST_STATES = 10_000;

    private final Nodes nodes;
    private final State start;

    private Map<Key, State> states = new HashMap<>();
    private Map<Long, Frame> frames = new HashMap<>();
    private int frameCount;

    /** A stack: where to go on after a rule, and what is below. */
    private record Frame(int id, int node, Frame below, int shortest) {
    }

    private record Key(long[] places) {
        @Override
        public boolean equals(Object other) {
            return other instanceof Key key && Arrays.equals(places, key.places);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(places);
        }
    }

    /** Where a text stands in the grammar. */
    static final class State {
        private final int[] nodes;
        private final Frame[] frames;
        private final boolean accepting;
        private final int shortest;
        private State[] next;
        /** The tokens that may come, once asked for. */
        TokenGrammar.Mask mask;

        private State(int[] nodes, Frame[] frames, boolean accepting, int shortest) {
            this.nodes = nodes;
            this.frames = frames;
            this.accepting = accepting;
            this.shortest = shortest;
        }

        /** Whether the text may end here. */
        boolean accepting() {
            return accepting;
        }

        /** Whether nothing can follow. */
        boolean last() {
            return nodes.length == 0;
        }

        /** Bytes to the nearest end. */
        int shortest() {
            return shortest;
        }
    }

    private static final State DEAD = new State(new int[0], new Frame[0], false, Nodes.NEVER);

    Automaton(Grammar grammar) {
        this.nodes = new Nodes(grammar);
        Places places = new Places();
        places.enter(nodes.root(), null);
        this.start = places.state();
    }

    State start() {
        return start;
    }

    /** After one more byte; null where the grammar has no such text. */
    State step(State from, int oneByte) {
        State known = from.next == null ? null : from.next[oneByte];
        if (known == null) {
            Places places = new Places();
            for (int i = 0; i < from.nodes.length; i++) {
                Nodes.Take take = (Nodes.Take) nodes.at(from.nodes[i]);
                if (take.bytes().get(oneByte)) {
                    places.enter(take.next(), from.frames[i]);
                }
            }
            known = places.state();
            if (from.next == null) {
                from.next = new State[256];
            }
            from.next[oneByte] = known;
        }
        return known == DEAD ? null : known;
    }

    /** Lets go of what was worked out, before it grows without bound. */
    void forgetIfLarge() {
        if (states.size() > MOST_STATES || frames.size() > 4 * MOST_STATES) {
            for (State state : states.values()) {
                state.next = null;
                state.mask = null;
            }
            states = new HashMap<>();
            frames = new HashMap<>();
        }
    }

    private Frame frame(int node, Frame below) {
        long key = (long) node << 32 | (below == null ? 0 : below.id());
        return frames.computeIfAbsent(key, _ -> new Frame(++frameCount, node, below,
                Math.min(Nodes.NEVER, nodes.shortest(node) + (below == null ? 0 : below.shortest()))));
    }

    /** Collects where a text can stand, going on without a byte as far as that goes. */
    private final class Places {
        private final Map<Long, Frame> found = new HashMap<>();
        private final Set<Long> seen = new HashSet<>();
        private boolean accepting;

        void enter(int node, Frame stack) {
            Deque<Integer> left = new ArrayDeque<>();
            Deque<Frame> stacks = new ArrayDeque<>();
            Frame none = new Frame(0, -1, null, 0);
            left.push(node);
            stacks.push(stack == null ? none : stack);
            while (!left.isEmpty()) {
                int at = left.pop();
                Frame top = stacks.pop();
                Frame real = top.id() == 0 ? null : top;
                long place = (long) at << 32 | top.id();
                if (nodes.shortest(at) >= Nodes.NEVER || !seen.add(place)) {
                    continue;
                }
                switch (nodes.at(at)) {
                    case Nodes.Take _ -> found.put(place, real);
                    case Nodes.Split split -> split.options().forEach(option -> {
                        left.push(option);
                        stacks.push(top);
                    });
                    case Nodes.Call call -> {
                        left.push(nodes.start(call.rule()));
                        // A call at a rule's end returns to where the rule does: lists do not deepen the stack.
                        stacks.push(call.next() == Nodes.RETURN ? top : frame(call.next(), real));
                    }
                    case Nodes.Return _ -> {
                        if (real == null) {
                            accepting = true;
                        } else {
                            left.push(real.node());
                            stacks.push(real.below() == null ? none : real.below());
                        }
                    }
                }
            }
        }

        State state() {
            if (found.isEmpty() && !accepting) {
                return DEAD;
            }
            long[] key = new long[found.size() + 1];
            int count = 0;
            for (long place : found.keySet()) {
                key[count++] = place;
            }
            Arrays.sort(key, 0, count);
            key[count] = accepting ? -1 : -2;
            return states.computeIfAbsent(new Key(key), _ -> make(key, key.length - 1));
        }

        private State make(long[] key, int count) {
            int[] at = new int[count];
            Frame[] stacks = new Frame[count];
            int least = accepting ? 0 : Nodes.NEVER;
            for (int i = 0; i < count; i++) {
                at[i] = (int) (key[i] >> 32);
                stacks[i] = found.get(key[i]);
                least = Math.min(least, nodes.shortest(at[i]) + (stacks[i] == null ? 0 : stacks[i].shortest()));
            }
            return new State(at, stacks, accepting, Math.min(least, Nodes.NEVER));
        }
    }
}
