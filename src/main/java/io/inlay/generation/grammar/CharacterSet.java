package io.inlay.generation.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/** A set of Unicode characters (code points without surrogates), as sorted ranges that do not touch. */
final class CharacterSet {

    static final CharacterSet ALL = new CharacterSet(List.of(new int[] {0, 0xD7FF}, new int[] {0xE000, 0x10FFFF}));
    static final CharacterSet NONE = new CharacterSet(List.of());

    /** What ends at these has 1, 2, 3 and 4 bytes in UTF-8. */
    private static final int[] LENGTH_ENDS = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};

    private final List<int[]> ranges;

    private CharacterSet(List<int[]> ranges) {
        this.ranges = ranges;
    }

    static CharacterSet of(int from, int to) {
        return NONE.with(from, to);
    }

    static CharacterSet of(String characters) {
        CharacterSet set = NONE;
        for (int each : characters.codePoints().toArray()) {
            set = set.with(each, each);
        }
        return set;
    }

    /** With these too, both ends included; surrogates among them do not count. */
    CharacterSet with(int from, int to) {
        List<int[]> all = new ArrayList<>(ranges);
        if (from <= Math.min(to, 0xD7FF)) {
            all.add(new int[] {from, Math.min(to, 0xD7FF)});
        }
        if (Math.max(from, 0xE000) <= to) {
            all.add(new int[] {Math.max(from, 0xE000), to});
        }
        return normal(all);
    }

    CharacterSet or(CharacterSet other) {
        List<int[]> all = new ArrayList<>(ranges);
        all.addAll(other.ranges);
        return normal(all);
    }

    private static CharacterSet normal(List<int[]> ranges) {
        List<int[]> sorted = new ArrayList<>();
        ranges.sort(Comparator.comparingInt(range -> range[0]));
        for (int[] each : ranges) {
            int[] last = sorted.isEmpty() ? null : sorted.getLast();
            if (last != null && each[0] <= last[1] + 1) {
                last[1] = Math.max(last[1], each[1]);
            } else {
                sorted.add(each.clone());
            }
        }
        return new CharacterSet(sorted);
    }

    CharacterSet complement() {
        CharacterSet result = NONE;
        int from = 0;
        for (int[] each : ranges) {
            if (each[0] > from) {
                result = result.with(from, each[0] - 1);
            }
            from = each[1] + 1;
        }
        return from <= 0x10FFFF ? result.with(from, 0x10FFFF) : result;
    }

    CharacterSet and(CharacterSet other) {
        return complement().or(other.complement()).complement();
    }

    CharacterSet minus(CharacterSet other) {
        return and(other.complement());
    }

    boolean contains(int character) {
        return ranges.stream().anyMatch(range -> range[0] <= character && character <= range[1]);
    }

    /** Its member, if it has just one; else -1. */
    int only() {
        return ranges.size() == 1 && ranges.getFirst()[0] == ranges.getFirst()[1] ? ranges.getFirst()[0] : -1;
    }

    boolean isEmpty() {
        return ranges.isEmpty();
    }

    /** One of these characters in UTF-8. */
    Expression utf8() {
        List<Expression> options = new ArrayList<>();
        for (int[] range : ranges) {
            int from = range[0];
            for (int end : LENGTH_ENDS) {
                if (from <= Math.min(end, range[1])) {
                    options.add(bytes(encode(from), encode(Math.min(end, range[1])), 0));
                    from = Math.min(end, range[1]) + 1;
                }
            }
        }
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private static int[] encode(int c) {
        if (c <= 0x7F) {
            return new int[] {c};
        }
        if (c <= 0x7FF) {
            return new int[] {0xC0 | c >> 6, 0x80 | c & 0x3F};
        }
        if (c <= 0xFFFF) {
            return new int[] {0xE0 | c >> 12, 0x80 | c >> 6 & 0x3F, 0x80 | c & 0x3F};
        }
        return new int[] {0xF0 | c >> 18, 0x80 | c >> 12 & 0x3F, 0x80 | c >> 6 & 0x3F, 0x80 | c & 0x3F};
    }

    /** Encodings from {@code low} to {@code high}, of one length, from byte {@code at} on. */
    private static Expression bytes(int[] low, int[] high, int at) {
        if (at == low.length - 1) {
            return Expression.range(low[at], high[at]);
        }
        if (low[at] == high[at]) {
            return Expression.sequence(Expression.range(low[at], low[at]), bytes(low, high, at + 1));
        }
        int[] least = least(low, at);
        int[] most = most(high, at);
        List<Expression> options = new ArrayList<>();
        boolean lowWhole = Arrays.equals(low, least);
        boolean highWhole = Arrays.equals(high, most);
        if (!lowWhole) {
            options.add(Expression.sequence(Expression.range(low[at], low[at]), bytes(low, most(low, at), at + 1)));
        }
        int first = lowWhole ? low[at] : low[at] + 1;
        int last = highWhole ? high[at] : high[at] - 1;
        if (first <= last) {
            options.add(Expression.sequence(Expression.range(first, last), bytes(least, most, at + 1)));
        }
        if (!highWhole) {
            options.add(Expression.sequence(Expression.range(high[at], high[at]), bytes(least(high, at), high, at + 1)));
        }
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private static int[] least(int[] encoding, int at) {
        int[] result = encoding.clone();
        Arrays.fill(result, at + 1, result.length, 0x80);
        return result;
    }

    private static int[] most(int[] encoding, int at) {
        int[] result = encoding.clone();
        Arrays.fill(result, at + 1, result.length, 0xBF);
        return result;
    }
}
