package io.inlay.bench;

import java.util.Locale;
import java.util.Optional;

/**
 * What one check of {@code tests/gpu/run} came to, as the line that says so: {@code PASS name text}, {@code FAIL name text},
 * {@code SKIPPED name reason}. Figures are lines of their own, {@code BAR name value >= target} as {@link Figures} prints them, and
 * {@code TINY name value} where a shape was so small that its figures mean nothing.
 */
record Verdict(Kind kind, String name, String text) {

    enum Kind {
        PASS,
        FAIL,
        SKIPPED,
        BAR,
        TINY
    }

    static Verdict of(boolean passed, String name, String text) {
        return new Verdict(passed ? Kind.PASS : Kind.FAIL, name, text);
    }

    /** {@code measured}, which must not be above the bound; what is no number is above everything. */
    static Verdict within(String name, double measured, double bound) {
        return of(measured <= bound, name, String.format(Locale.ROOT, "%.3g <= %s", measured, bound));
    }

    static Verdict skipped(String name, String reason) {
        return new Verdict(Kind.SKIPPED, name, reason.lines().findFirst().orElse(""));
    }

    /** The verdict that a line is; empty for any other line. */
    static Optional<Verdict> parse(String line) {
        String[] words = line.split(" ", 3);
        for (Kind kind : Kind.values()) {
            if (words.length > 1 && words[0].equals(kind.name())) {
                return Optional.of(new Verdict(kind, words[1], words.length > 2 ? words[2] : ""));
            }
        }
        return Optional.empty();
    }

    /** Prints the line; what it says is passed on. */
    Verdict say() {
        System.out.println(this);
        return this;
    }

    @Override
    public String toString() {
        return kind + " " + name + (text.isEmpty() ? "" : " " + text);
    }
}
