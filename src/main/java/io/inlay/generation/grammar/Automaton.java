package io.inlay.generation.grammar;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A grammar as a nondeterministic pushdown automaton over bytes, made deterministic as far as it is walked. A {@link State} is a set of
 * places, each a node with the stack of nodes to return to; stacks share their tails, and states are kept, so a byte is mostly one array
 * look-up. Confined to one thread at a time.
 */
final class Automaton {

    /** What has no way to an end, or is not known yet. */
    static final int NEVER = Integer.MAX_VALUE / 4;

    private static final int MOST_NODES = 400_000;
    private static final int MOST_STATES = 10_000;
    private static final int RETURN = 0;

    private final Grammar grammar;
    private final List<Node> nodes = new ArrayList<>();
    private final Map<String, Integer> ruleNumbers = new HashMap<>();
    private final List<String> ruleNames = new ArrayList<>();
    private final List<Integer> starts = new ArrayList<>();
    private final Deque<Map.Entry<String, Expression>> pending = new ArrayDeque<>();
    private final int[] shortest;
    private final State start;

    private Map<Key, State> states = new HashMap<>();
    private Map<Long, Frame> frames = new HashMap<>();
    private int frameCount;

    private sealed interface Node {
    }

    /** Takes one byte. */
    private record Take(BitSet bytes, int next) implements Node {
    }

    private record Call(int rule, int next) implements Node {
    }

    /** Goes on at any of these; filled in after it is made, since loops come back to it. */
    private record Split(List<Integer> options) implements Node {
    }

    private record Return() implements Node {
    }

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

    private static final State DEAD = new State(new int[0], new Frame[0], false, NEVER);

    Automaton(Grammar grammar) {
        this.grammar = grammar;
        nodes.add(new Return());
        int root = node(grammar.root(), RETURN);
        while (!pending.isEmpty()) {
            Map.Entry<String, Expression> rule = pending.remove();
            starts.set(ruleNumbers.get(rule.getKey()), node(rule.getValue(), RETURN));
        }
        requireNoLeftRecursion();
        this.shortest = shortest();
        Places places = new Places();
        places.enter(root, null);
        this.start = places.state();
        if (start.shortest >= NEVER) {
            throw Grammar.refused(grammar.source() + " allows no finite answer; check its recursion and its bounds");
        }
    }

    // ---- making it ----

    private int add(Node node) {
        if (nodes.size() >= MOST_NODES) {
            throw Grammar.refused(grammar.source() + " is too large: it needs more than " + MOST_NODES
                    + " states; lower its counts (maxLength, maxItems, {m,n}), or leave some of it out");
        }
        nodes.add(node);
        return nodes.size() - 1;
    }

    /** The node that takes the expression and goes on at {@code next}. */
    private int node(Expression expression, int next) {
        return switch (expression) {
            case Expression.Bytes bytes -> add(new Take(bytes.set(), next));
            case Expression.Sequence sequence -> {
                int at = next;
                for (int i = sequence.parts().size() - 1; i >= 0; i--) {
                    at = node(sequence.parts().get(i), at);
                }
                yield at;
            }
            case Expression.Choice choice -> split(choice.options().stream().map(option -> node(option, next)).toList());
            case Expression.Repeat repeat -> repeat(repeat, next);
            case Expression.Rule rule -> add(new Call(rule(rule.name(), null), next));
        };
    }

    private int split(List<Integer> options) {
        return add(new Split(options));
    }

    private int repeat(Expression.Repeat repeat, int next) {
        // What is large is one rule, called many times.
        Expression what = Math.max(repeat.least(), repeat.most()) > 1 && size(repeat.what()) > 4 ? shared(repeat.what()) : repeat.what();
        int at = next;
        if (repeat.most() < 0) {
            List<Integer> options = new ArrayList<>();
            int loop = split(options);
            options.add(node(what, loop));
            options.add(next);
            at = loop;
        } else {
            for (int i = repeat.least(); i < repeat.most(); i++) {
                at = split(List.of(node(what, at), next));
            }
        }
        for (int i = 0; i < repeat.least(); i++) {
            at = node(what, at);
        }
        return at;
    }

    private Expression shared(Expression what) {
        String name = "#" + ruleNames.size();
        rule(name, what);
        return Expression.rule(name);
    }

    private static int size(Expression expression) {
        return switch (expression) {
            case Expression.Bytes _ -> 1;
            case Expression.Sequence sequence -> sequence.parts().stream().mapToInt(Automaton::size).sum();
            case Expression.Choice choice -> 1 + choice.options().stream().mapToInt(Automaton::size).sum();
            case Expression.Repeat repeat -> 1 + size(repeat.what()) * Math.max(1, Math.max(repeat.least(), repeat.most()));
            case Expression.Rule _ -> 1;
        };
    }

    private int rule(String name, Expression made) {
        Integer known = ruleNumbers.get(name);
        if (known != null) {
            return known;
        }
        Expression body = made == null ? grammar.rules().get(name) : made;
        if (body == null) {
            throw Grammar.refused(grammar.source() + " refers to '" + name + "', which it does not define");
        }
        ruleNumbers.put(name, ruleNames.size());
        ruleNames.add(name);
        starts.add(-1);
        pending.add(Map.entry(name, body));
        return ruleNames.size() - 1;
    }

    /** A rule that calls itself before a byte is taken would never end; the stack would grow without one. */
    private void requireNoLeftRecursion() {
        boolean[] empty = emptyRules();
        List<Set<Integer>> calls = starts.stream().map(from -> firstCalls(from, empty)).toList();
        int[] colours = new int[calls.size()];
        for (int rule = 0; rule < calls.size(); rule++) {
            requireNoCycle(rule, calls, colours);
        }
    }

    private void requireNoCycle(int root, List<Set<Integer>> calls, int[] colours) {
        Deque<int[]> path = new ArrayDeque<>();
        if (colours[root] == 0) {
            path.push(new int[] {root, 0});
            colours[root] = 1;
        }
        while (!path.isEmpty()) {
            int[] top = path.peek();
            List<Integer> targets = new ArrayList<>(calls.get(top[0]));
            if (top[1] == targets.size()) {
                colours[top[0]] = 2;
                path.pop();
                continue;
            }
            int target = targets.get(top[1]++);
            if (colours[target] == 1) {
                throw Grammar.refused(grammar.source() + ": '" + ruleNames.get(target) + "' can call itself before it takes a character; write "
                        + "the repetition with * or +, or put a character in front");
            }
            if (colours[target] == 0) {
                colours[target] = 1;
                path.push(new int[] {target, 0});
            }
        }
    }

    /** Which rules can be the empty text. */
    private boolean[] emptyRules() {
        boolean[] empty = new boolean[starts.size()];
        boolean changed = true;
        while (changed) {
            changed = false;
            for (int rule = 0; rule < empty.length; rule++) {
                if (!empty[rule] && reaches(starts.get(rule), empty, null)) {
                    empty[rule] = true;
                    changed = true;
                }
            }
        }
        return empty;
    }

    private Set<Integer> firstCalls(int from, boolean[] empty) {
        Set<Integer> calls = new HashSet<>();
        reaches(from, empty, calls);
        return calls;
    }

    /** Whether the rule's end is reached from here without a byte; the calls on the way are collected. */
    private boolean reaches(int from, boolean[] empty, Set<Integer> calls) {
        BitSet seen = new BitSet();
        Deque<Integer> left = new ArrayDeque<>(List.of(from));
        boolean end = false;
        while (!left.isEmpty()) {
            int at = left.pop();
            if (seen.get(at)) {
                continue;
            }
            seen.set(at);
            switch (nodes.get(at)) {
                case Take _ -> {
                }
                case Return _ -> end = true;
                case Split split -> left.addAll(split.options());
                case Call call -> {
                    if (calls != null) {
                        calls.add(call.rule());
                    }
                    if (empty[call.rule()]) {
                        left.push(call.next());
                    }
                }
            }
        }
        return end;
    }

    /** Of each node, the fewest bytes to the end of its rule. */
    private int[] shortest() {
        int[] result = new int[nodes.size()];
        Arrays.fill(result, NEVER);
        result[RETURN] = 0;
        boolean changed = true;
        while (changed) {
            changed = false;
            for (int at = 1; at < result.length; at++) {
                int length = switch (nodes.get(at)) {
                    case Take take -> take.bytes().isEmpty() ? NEVER : 1 + result[take.next()];
                    case Split split -> split.options().stream().mapToInt(option -> result[option]).min().orElse(NEVER);
                    case Call call -> result[starts.get(call.rule())] + result[call.next()];
                    case Return _ -> 0;
                };
                if (Math.min(length, NEVER) < result[at]) {
                    result[at] = length;
                    changed = true;
                }
            }
        }
        return result;
    }

    // ---- walking it ----

    State start() {
        return start;
    }

    /** After one more byte; null where the grammar has no such text. */
    State step(State from, int oneByte) {
        State known = from.next == null ? null : from.next[oneByte];
        if (known == null) {
            Places places = new Places();
            for (int i = 0; i < from.nodes.length; i++) {
                Take take = (Take) nodes.get(from.nodes[i]);
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
                Math.min(NEVER, shortest[node] + (below == null ? 0 : below.shortest()))));
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
                if (shortest[at] >= NEVER || !seen.add(place)) {
                    continue;
                }
                switch (nodes.get(at)) {
                    case Take _ -> found.put(place, real);
                    case Split split -> split.options().forEach(option -> {
                        left.push(option);
                        stacks.push(top);
                    });
                    case Call call -> {
                        left.push(starts.get(call.rule()));
                        // A call at a rule's end returns to where the rule does: lists do not deepen the stack.
                        stacks.push(call.next() == RETURN ? top : frame(call.next(), real));
                    }
                    case Return _ -> {
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
            int least = accepting ? 0 : NEVER;
            for (int i = 0; i < count; i++) {
                at[i] = (int) (key[i] >> 32);
                stacks[i] = found.get(key[i]);
                least = Math.min(least, shortest[at[i]] + (stacks[i] == null ? 0 : stacks[i].shortest()));
            }
            return new State(at, stacks, accepting, Math.min(least, NEVER));
        }
    }
}
