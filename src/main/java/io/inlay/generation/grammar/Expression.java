package io.inlay.generation.grammar;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/** A language over bytes, by its construction. */
public sealed interface Expression {

    /** The empty text. */
    Expression EMPTY = new Sequence(List.of());

    /** One byte of a set; an empty set is the language without any text. */
    record Bytes(BitSet set) implements Expression {
    }

    record Sequence(List<Expression> parts) implements Expression {
        public Sequence {
            parts = List.copyOf(parts);
        }
    }

    record Choice(List<Expression> options) implements Expression {
        public Choice {
            options = List.copyOf(options);
        }
    }

    /**
     * @param most negative for any number
     */
    record Repeat(Expression what, int least, int most) implements Expression {
        public Repeat {
            if (least < 0 || most >= 0 && most < least) {
                throw Grammar.refused("a repetition of " + least + " to " + most + " times is none; the first number must not be larger");
            }
        }
    }

    /** A rule of the grammar by name; rules may refer to each other and to themselves. */
    record Rule(String name) implements Expression {
    }

    static Expression text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        List<Expression> parts = new ArrayList<>();
        for (byte each : bytes) {
            parts.add(range(each & 0xFF, each & 0xFF));
        }
        return parts.size() == 1 ? parts.getFirst() : new Sequence(parts);
    }

    /** One byte, both ends included. */
    static Expression range(int from, int to) {
        BitSet set = new BitSet(256);
        set.set(from, to + 1);
        return new Bytes(set);
    }

    static Expression sequence(Expression... parts) {
        return new Sequence(Arrays.asList(parts));
    }

    static Expression choice(Expression... options) {
        return new Choice(Arrays.asList(options));
    }

    static Expression optional(Expression what) {
        return new Repeat(what, 0, 1);
    }

    static Expression any(Expression what) {
        return new Repeat(what, 0, -1);
    }

    static Expression rule(String name) {
        return new Rule(name);
    }
}
