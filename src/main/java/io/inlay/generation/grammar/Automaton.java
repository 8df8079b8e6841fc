package io.inlay.generation.grammar;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A grammar as a nondeterministic pushdown automaton over bytes, made deterministic as far as it is walked. A {@link State} is a set of
 * places, each a node with the stack of nodes to return to; stacks share their tails, and states are kept, so a byte is mostly one array
 * look-up. Confined to one thread at a time, but for {@link #start} and {@link #known}.
 */
final class Automaton {

    private static final int MOST_STATES = 10_000;

    private final Nodes nodes;
    private final ByteClasses classes;
    private volatile State start;
    private long transitions;

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

    /** Where a text stands in the grammar. What was found out of a state is never forgotten, but with the state itself. */
    static final class State {
        private final int[] nodes;
        private final Frame[] frames;
        private final boolean accepting;
        private final int shortest;
        /** By class of bytes; null where it is not known yet. Read without a lock: a state is whole wherever it is seen. */
        private final State[] next;
        private Run run;
        private ByteSet characters;
        /** The tokens that may come, once asked for; and those at the beginning where a first space is dropped. */
        final MaskCache.Slot mask = new MaskCache.Slot();
        final MaskCache.Slot maskAfterDroppedSpace = new MaskCache.Slot();

        private State(int[] nodes, Frame[] frames, boolean accepting, int shortest, int classes) {
            this.nodes = nodes;
            this.frames = frames;
            this.accepting = accepting;
            this.shortest = shortest;
            this.next = new State[classes];
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

    /**
     * Where a state goes by most bytes: often to itself, as within a text, or along a chain that counts.
     *
     * @param bytes all those that lead to {@code next}
     */
    record Run(State next, ByteSet bytes) {
    }

    private static final State DEAD = new State(new int[0], new Frame[0], false, Nodes.NEVER, 0);

    Automaton(Grammar grammar) {
        this.nodes = new Nodes(grammar);
        this.classes = new ByteClasses(nodes.byteSets());
        this.start = begin();
    }

    private State begin() {
        Places places = new Places();
        places.enter(nodes.root(), null);
        return places.state();
    }

    /** Any thread may ask. */
    State start() {
        return start;
    }

    /** Transitions that were worked out so far: what masks cost beyond looking them up. */
    long transitions() {
        return transitions;
    }

    int classes() {
        return classes.count();
    }

    /** After one more byte; null where the grammar has no such text. */
    State step(State from, int oneByte) {
        State next = stepByClass(from, classes.of(oneByte));
        return next == DEAD ? null : next;
    }

    /** What {@link #step} gives if that was worked out before, else null. Any thread may ask. */
    State known(State from, int oneByte) {
        State next = from.next[classes.of(oneByte)];
        return next == DEAD ? null : next;
    }

    private State stepByClass(State from, int number) {
        State next = from.next[number];
        if (next == null) {
            transitions++;
            int oneByte = classes.first(number);
            Places places = null;
            for (int i = 0; i < from.nodes.length; i++) {
                Nodes.Take take = (Nodes.Take) nodes.at(from.nodes[i]);
                if (take.bytes().get(oneByte)) {
                    places = places == null ? new Places() : places;
                    places.enter(take.next(), from.frames[i]);
                }
            }
            next = places == null ? DEAD : places.state();
            from.next[number] = next;
        }
        return next;
    }

    /** Where a state goes by most bytes; empty, and to nowhere, where nothing can follow. */
    Run run(State from) {
        if (from.run == null) {
            expand(from);
            Map<State, ByteSet> sets = new IdentityHashMap<>();
            State most = DEAD;
            for (int number = 0; number < classes.count(); number++) {
                State next = from.next[number];
                if (next != DEAD) {
                    ByteSet grown = sets.getOrDefault(next, ByteSet.NONE).joined(classes.bytes(number));
                    sets.put(next, grown);
                    most = most == DEAD || grown.size() > sets.get(most).size() ? next : most;
                }
            }
            from.run = new Run(most, sets.getOrDefault(most, ByteSet.NONE));
        }
        return from.run;
    }

    /** Works all of the state's transitions out, once for classes that the same of its places take. */
    private void expand(State from) {
        long[] takers = new long[classes.count()];
        boolean fits = from.nodes.length <= Long.SIZE;
        for (int number = 0; number < takers.length; number++) {
            int like = number;
            if (fits) {
                takers[number] = takers(from, classes.first(number));
                like = 0;
                while (takers[like] != takers[number]) {
                    like++;
                }
            }
            from.next[number] = stepByClass(from, from.next[number] == null ? like : number);
        }
    }

    /** Which of the state's places take the byte, a bit each. */
    private long takers(State from, int oneByte) {
        long takers = 0;
        for (int i = 0; i < from.nodes.length; i++) {
            takers |= ((Nodes.Take) nodes.at(from.nodes[i])).bytes().get(oneByte) ? 1L << i : 0;
        }
        return takers;
    }

    /**
     * Of the state's run, the ASCII characters, and the first bytes of those others that lead to its next state whole, whatever bytes
     * follow in UTF-8.
     */
    ByteSet characters(State from) {
        if (from.characters == null) {
            Run run = run(from);
            ByteSet found = run.bytes().ascii();
            Map<Within, Boolean> asked = new HashMap<>();
            for (int lead = Utf8.FIRST_LEAD; lead <= Utf8.LAST_LEAD; lead++) {
                if (leads(new Within(stepByClass(from, classes.of(lead)), Utf8.next(Utf8.WHOLE, lead)), run.next(), asked)) {
                    found = found.with(lead);
                }
            }
            from.characters = found;
        }
        return from.characters;
    }

    /** A state within a character. */
    private record Within(State state, int utf8) {
    }

    private boolean leads(Within from, State to, Map<Within, Boolean> asked) {
        if (from.state == DEAD || from.utf8 == Utf8.WHOLE) {
            return from.state == to && to != DEAD;
        }
        Boolean known = asked.get(from);
        if (known == null) {
            expand(from.state);
            known = true;
            for (int value = 0x80; known && value < 0xC0; value++) {
                int utf8 = Utf8.next(from.utf8, value);
                known = utf8 == Utf8.BROKEN || leads(new Within(stepByClass(from.state, classes.of(value)), utf8), to, asked);
            }
            asked.put(from, known);
        }
        return known;
    }

    /**
     * Lets go of what was worked out, before it grows without bound. Answers under way keep the states that they can come to, and whoever
     * begins now begins anew.
     */
    void forgetIfLarge() {
        if (states.size() > MOST_STATES || frames.size() > 4 * MOST_STATES) {
            states = new HashMap<>();
            frames = new HashMap<>();
            start = begin();
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
            return new State(at, stacks, accepting, Math.min(least, Nodes.NEVER), classes.count());
        }
    }
}
