package io.inlay.generation.grammar;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** A grammar's rules as a network of nodes: what an {@link Automaton} walks. Not changed once it is made. */
final class Nodes {

    /** What has no way to an end, or is not known yet. */
    static final int NEVER = Integer.MAX_VALUE / 4;

    /** The node at the end of every rule. */
    static final int RETURN = 0;

    private static final int MOST_NODES = 400_000;
    private static final int LARGE = 1000;

    private final Grammar grammar;
    private final List<Node> nodes = new ArrayList<>();
    private final Map<String, Integer> ruleNumbers = new HashMap<>();
    private final List<String> ruleNames = new ArrayList<>();
    private final List<Integer> starts = new ArrayList<>();
    /** Names of rules made of what is repeated. */
    private final Map<Expression, String> shared = new IdentityHashMap<>();
    /** Where the nodes of each rule begin. */
    private final List<Integer> blocks = new ArrayList<>();
    private final Deque<Map.Entry<String, Expression>> pending = new ArrayDeque<>();
    private final int root;
    private final int[] shortest;

    sealed interface Node {
    }

    /** Takes one byte. */
    record Take(BitSet bytes, int next) implements Node {
    }

    record Call(int rule, int next) implements Node {
    }

    /** Goes on at any of these; a loop's comes to its list after it is made. */
    record Split(List<Integer> options) implements Node {
    }

    record Return() implements Node {
    }

    Nodes(Grammar grammar) {
        this.grammar = grammar;
        nodes.add(new Return());
        blocks.add(nodes.size());
        this.root = node(grammar.root(), RETURN);
        while (!pending.isEmpty()) {
            Map.Entry<String, Expression> rule = pending.remove();
            blocks.add(nodes.size());
            starts.set(ruleNumbers.get(rule.getKey()), node(rule.getValue(), RETURN));
        }
        requireNoLeftRecursion();
        this.shortest = findShortest();
        if (shortest[root] >= NEVER) {
            throw Grammar.refused(grammar.source() + " allows no finite answer, or none of a length that can be given; check its recursion and "
                    + "its bounds");
        }
    }

    Node at(int node) {
        return nodes.get(node);
    }

    int root() {
        return root;
    }

    /** The sets of bytes that are taken anywhere, each once. */
    Set<BitSet> byteSets() {
        return nodes.stream().filter(Take.class::isInstance).map(take -> ((Take) take).bytes()).collect(Collectors.toSet());
    }

    /** Where a rule begins. */
    int start(int rule) {
        return starts.get(rule);
    }

    /** The fewest bytes from the node to the end of its rule. */
    int shortest(int node) {
        return shortest[node];
    }

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
        String name = shared.computeIfAbsent(what, _ -> "#" + ruleNames.size());
        rule(name, what);
        return Expression.rule(name);
    }

    private static int size(Expression expression) {
        return switch (expression) {
            case Expression.Bytes _ -> 1;
            case Expression.Sequence sequence -> Math.min(LARGE, sequence.parts().stream().mapToInt(Nodes::size).sum());
            case Expression.Choice choice -> Math.min(LARGE, 1 + choice.options().stream().mapToInt(Nodes::size).sum());
            case Expression.Repeat repeat -> (int) Math.min(LARGE, 1 + (long) size(repeat.what())
                    * Math.max(1, Math.max(repeat.least(), repeat.most())));
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
        List<List<Integer>> calls = starts.stream().map(from -> firstCalls(from, empty)).toList();
        int[] colours = new int[calls.size()];
        for (int rule = 0; rule < calls.size(); rule++) {
            requireNoCycle(rule, calls, colours);
        }
    }

    /** Depth first without recursion: 1 is on the path, 2 is done. */
    private void requireNoCycle(int root, List<List<Integer>> calls, int[] colours) {
        Deque<int[]> path = new ArrayDeque<>();
        if (colours[root] == 0) {
            path.push(new int[] {root, 0});
            colours[root] = 1;
        }
        while (!path.isEmpty()) {
            int[] top = path.peek();
            List<Integer> targets = calls.get(top[0]);
            if (top[1] == targets.size()) {
                colours[top[0]] = 2;
                path.pop();
                continue;
            }
            int target = targets.get(top[1]++);
            if (colours[target] == 1) {
                throw Grammar.refused(grammar.source() + ": '" + ruleNames.get(target) + "' can call itself before it takes a character; "
                        + "write the repetition with * or +, or put a character in front");
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
            for (int rule = empty.length - 1; rule >= 0; rule--) { // rules mostly call later ones
                if (!empty[rule] && reaches(starts.get(rule), empty, null)) {
                    empty[rule] = true;
                    changed = true;
                }
            }
        }
        return empty;
    }

    private List<Integer> firstCalls(int from, boolean[] empty) {
        Set<Integer> calls = new HashSet<>();
        reaches(from, empty, calls);
        return List.copyOf(calls);
    }

    /** Whether the rule's end is reached from here without a byte; the calls on the way are collected. */
    private boolean reaches(int from, boolean[] empty, Set<Integer> calls) {
        Set<Integer> seen = new HashSet<>();
        Deque<Integer> left = new ArrayDeque<>(List.of(from));
        boolean end = false;
        while (!left.isEmpty()) {
            int at = left.pop();
            if (!seen.add(at)) {
                continue;
            }
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

    /** Nodes in an order in which what a node goes on at mostly comes first: later rules first, within a rule its end first. */
    private int[] callersLast() {
        int[] order = new int[nodes.size() - 1];
        int count = 0;
        int end = nodes.size();
        for (int block = blocks.size() - 1; block >= 0; block--) {
            for (int at = blocks.get(block); at < end; at++) {
                order[count++] = at;
            }
            end = blocks.get(block);
        }
        return order;
    }

    /** Of each node, the fewest bytes to the end of its rule. */
    private int[] findShortest() {
        int[] result = new int[nodes.size()];
        Arrays.fill(result, NEVER);
        result[RETURN] = 0;
        int[] order = callersLast();
        boolean changed = true;
        while (changed) {
            changed = false;
            for (int at : order) {
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
}
