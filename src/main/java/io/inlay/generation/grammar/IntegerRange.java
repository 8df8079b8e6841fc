package io.inlay.generation.grammar;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;

/** Whole numbers of an interval, digit by digit. */
final class IntegerRange {

    /** As many digits as JSON's readers keep exactly. */
    private static final BigInteger MOST = BigInteger.TEN.pow(15);

    private IntegerRange() {
    }

    /** Both ends included; null for none, which stands for 15 digits. */
    static Expression of(BigInteger least, BigInteger most) {
        BigInteger low = least == null ? MOST.negate().min(most.subtract(MOST)) : least;
        BigInteger high = most == null ? MOST.max(low.add(MOST)) : most;
        List<Expression> options = new ArrayList<>();
        if (low.signum() < 0) {
            BigInteger smallest = high.signum() < 0 ? high.negate() : BigInteger.ONE;
            options.add(Expression.sequence(Expression.text("-"), natural(smallest, low.negate())));
        }
        if (high.signum() >= 0) {
            options.add(natural(low.max(BigInteger.ZERO), high));
        }
        return new Expression.Choice(options);
    }

    private static Expression natural(BigInteger low, BigInteger high) {
        List<Expression> options = new ArrayList<>();
        BigInteger from = low;
        while (from.compareTo(high) <= 0) {
            int digits = from.toString().length();
            BigInteger last = BigInteger.TEN.pow(digits).subtract(BigInteger.ONE).min(high);
            options.add(digits(from.toString(), last.toString(), 0));
            from = last.add(BigInteger.ONE);
        }
        return new Expression.Choice(options);
    }

    /** Numbers of as many digits as both ends have, from digit {@code at} on. */
    private static Expression digits(String low, String high, int at) {
        if (at == low.length()) {
            return Expression.EMPTY;
        }
        String rest = low.substring(at + 1);
        String zeros = "0".repeat(rest.length());
        String nines = "9".repeat(rest.length());
        char first = low.charAt(at);
        char last = high.charAt(at);
        if (first == last) {
            return Expression.sequence(digit(first, first), digits(low, high, at + 1));
        }
        List<Expression> options = new ArrayList<>();
        if (!rest.equals(zeros)) {
            options.add(Expression.sequence(digit(first, first), digits(low, low.substring(0, at + 1) + nines, at + 1)));
            first++;
        }
        boolean whole = high.substring(at + 1).equals(nines);
        char lastWhole = whole ? last : (char) (last - 1);
        if (first <= lastWhole) {
            options.add(Expression.sequence(digit(first, lastWhole), new Expression.Repeat(digit('0', '9'), rest.length(), rest.length())));
        }
        if (!whole) {
            options.add(Expression.sequence(digit(last, last), digits(high.substring(0, at + 1) + zeros, high, at + 1)));
        }
        return new Expression.Choice(options);
    }

    private static Expression digit(char from, char to) {
        return Expression.range(from, to);
    }
}
