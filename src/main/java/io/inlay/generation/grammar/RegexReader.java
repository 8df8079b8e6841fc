package io.inlay.generation.grammar;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * Regular expressions as ECMA-262 and Python write them, without what is no regular language: alternatives, groups, classes, {@code .},
 * escapes for characters and for digits, words and spaces, and quantifiers, lazy ones too. Anchors may stand at the ends of the
 * expression's alternatives. Look-around, back references, word boundaries and {@code \p} are refused by name.
 */
final class RegexReader {

    private static final CharacterSet DIGITS = CharacterSet.of('0', '9');
    private static final CharacterSet WORD = DIGITS.with('a', 'z').with('A', 'Z').with('_', '_');
    /** ECMA-262's white space and line ends. */
    private static final CharacterSet SPACES = CharacterSet.of(" \t\n\r\f\u000B\u00A0\u1680\u2028\u2029\u202F\u205F\u3000\uFEFF")
            .with(0x2000, 0x200A);
    private static final CharacterSet NOT_LINE_END = CharacterSet.of("\n\r").complement();
    private static final int MOST_TIMES = 10_000;
    private static final int MOST_CHARACTERS = 20_000;
    private static final int DEEPEST = 200;

    private final String field;
    private final String pattern;
    private final Function<CharacterSet, Expression> encoding;
    private int at;
    private int depth;

    private RegexReader(String field, String pattern, Function<CharacterSet, Expression> encoding) {
        this.field = field;
        this.pattern = pattern;
        this.encoding = encoding;
        if (pattern.length() > MOST_CHARACTERS) {
            throw refused(pattern.length() + " characters; at most " + MOST_CHARACTERS + " are taken");
        }
    }

    /**
     * Texts that match as a whole, in UTF-8.
     *
     * @param field where it came from, for messages
     */
    static Expression whole(String field, String pattern) {
        return new RegexReader(field, pattern, CharacterSet::utf8).read(false);
    }

    /**
     * Texts that have a match in them.
     *
     * @param encoding how one character of a set is written
     */
    static Expression search(String field, String pattern, Function<CharacterSet, Expression> encoding) {
        return new RegexReader(field, pattern, encoding).read(true);
    }

    private Expression read(boolean search) {
        Expression anything = Expression.any(encoding.apply(CharacterSet.ALL));
        List<Expression> options = new ArrayList<>();
        do {
            boolean start = skip('^');
            Expression body = sequence();
            boolean end = skip('$');
            if (more() && peek() != '|') {
                throw refused(peek() == ')' ? "a ')' that closes nothing" : "'" + peek()
                        + "' where nothing may stand: '^' and '$' may only be "
                        + "at the ends of the expression's alternatives");
            }
            options.add(!search ? body : Expression.sequence(start ? Expression.EMPTY : anything, body, end ? Expression.EMPTY : anything));
        } while (skip('|'));
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private Expression alternatives() {
        List<Expression> options = new ArrayList<>();
        do {
            options.add(sequence());
        } while (skip('|'));
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private Expression sequence() {
        List<Expression> parts = new ArrayList<>();
        while (more() && "|)$".indexOf(peek()) < 0) {
            parts.add(quantified(atom()));
        }
        return new Expression.Sequence(parts);
    }

    private Expression atom() {
        char c = next();
        return switch (c) {
            case '(' -> group();
            case '[' -> encoding.apply(characterClass());
            case '.' -> encoding.apply(NOT_LINE_END);
            case '\\' -> encoding.apply(escape(false));
            case '*', '+', '?' -> throw refused("'" + c + "' with nothing in front of it to repeat");
            case '^' -> throw refused("'^' inside of it; anchors may only be at the ends of the expression's alternatives");
            default -> encoding.apply(single(wide(c)));
        };
    }

    private Expression group() {
        if (skip('?')) {
            boolean named = pattern.startsWith("<", at) && !pattern.startsWith("<=", at) && !pattern.startsWith("<!", at)
                    || pattern.startsWith("P<", at);
            if (named) {
                at = pattern.indexOf('>', at) + 1;
                if (at == 0) {
                    throw refused("a group's name that does not end");
                }
            } else if (!skip(':')) {
                throw refused("look-around or a flag, '(?" + (more() ? peek() : "") + "'; only (?: ) and named groups are supported");
            }
        }
        if (++depth > DEEPEST) {
            throw refused("groups more than " + DEEPEST + " deep");
        }
        Expression inner = alternatives();
        depth--;
        if (!skip(')')) {
            throw refused(more() ? "'" + peek() + "' inside of a group; anchors may only be at the ends of the expression's alternatives"
                    : "a group that does not end");
        }
        return inner;
    }

    private Expression quantified(Expression what) {
        Expression result = what;
        while (more()) {
            int least;
            int most;
            int start = at;
            if (skip('*')) {
                least = 0;
                most = -1;
            } else if (skip('+')) {
                least = 1;
                most = -1;
            } else if (skip('?')) {
                least = 0;
                most = 1;
            } else if (peek() == '{' && pattern.substring(at).matches("(?s)\\{\\d+(,\\d*)?\\}.*")) {
                String[] counts = pattern.substring(at + 1, pattern.indexOf('}', at)).split(",", -1);
                at = pattern.indexOf('}', at) + 1;
                least = count(counts[0]);
                most = counts.length == 1 ? least : counts[1].isEmpty() ? -1 : count(counts[1]);
            } else {
                return result;
            }
            if (start != at && skip('+')) {
                throw refused("a possessive quantifier, which is not supported; leave its '+' out");
            }
            skip('?'); // A lazy quantifier has the same language.
            result = new Expression.Repeat(result, least, most);
        }
        return result;
    }

    private int count(String digits) {
        if (digits.length() > 6 || Integer.parseInt(digits) > MOST_TIMES) {
            throw refused("a repetition of " + digits + " times; at most " + MOST_TIMES + " are taken");
        }
        return Integer.parseInt(digits);
    }

    private CharacterSet characterClass() {
        boolean negated = skip('^');
        CharacterSet set = CharacterSet.NONE;
        boolean first = true;
        while (true) {
            if (!more()) {
                throw refused("a class that does not end; it needs a ']'");
            }
            if (!first && skip(']')) {
                return negated ? set.complement() : set;
            }
            if (first && skip(']')) {
                set = set.with(']', ']');
                first = false;
                continue;
            }
            first = false;
            CharacterSet from = classMember();
            if (more() && peek() == '-' && at + 1 < pattern.length() && pattern.charAt(at + 1) != ']') {
                at++;
                set = set.or(range(from, classMember()));
            } else {
                set = set.or(from);
            }
        }
    }

    private CharacterSet range(CharacterSet from, CharacterSet to) {
        int low = onlyMember(from);
        int high = onlyMember(to);
        if (low > high) {
            throw refused("a range whose end is before its beginning");
        }
        return CharacterSet.of(low, high);
    }

    private int onlyMember(CharacterSet set) {
        int member = set.only();
        if (member < 0) {
            throw refused("a range between classes; its ends must be characters");
        }
        return member;
    }

    private CharacterSet classMember() {
        char c = next();
        return c == '\\' ? escape(true) : single(wide(c));
    }

    private int wide(char c) {
        if (Character.isHighSurrogate(c) && more() && Character.isLowSurrogate(peek())) {
            return Character.toCodePoint(c, next());
        }
        return c;
    }

    private CharacterSet single(int character) {
        if (character >= 0xD800 && character <= 0xDFFF) {
            throw refused("half a character (an unpaired surrogate)");
        }
        return CharacterSet.of(character, character);
    }

    private CharacterSet escape(boolean inClass) {
        if (!more()) {
            throw refused("a '\\' at its end");
        }
        char c = next();
        return switch (c) {
            case 'd' -> DIGITS;
            case 'D' -> DIGITS.complement();
            case 'w' -> WORD;
            case 'W' -> WORD.complement();
            case 's' -> SPACES;
            case 'S' -> SPACES.complement();
            case 'n' -> single('\n');
            case 'r' -> single('\r');
            case 't' -> single('\t');
            case 'f' -> single('\f');
            case 'v' -> single(0x0B);
            case '0' -> single(0);
            case 'x' -> single(hex(2));
            case 'u' -> single(unicode());
            case 'b' -> {
                if (inClass) {
                    yield single('\b');
                }
                throw refused("a word boundary, '\\b', which is not supported");
            }
            default -> {
                if (Character.isLetterOrDigit(c)) {
                    throw refused("'\\" + c + "', which is not supported" + (Character.isDigit(c) ? " (a back reference)" : ""));
                }
                yield single(wide(c));
            }
        };
    }

    private int unicode() {
        if (skip('{')) {
            int end = pattern.indexOf('}', at);
            if (end < 0) {
                throw refused("a '\\u{' that does not end");
            }
            int digits = end - at;
            int value = hex(digits);
            at++;
            return value;
        }
        int high = hex(4);
        if (Character.isHighSurrogate((char) high) && pattern.startsWith("\\u", at)) {
            at += 2;
            return Character.toCodePoint((char) high, (char) hex(4));
        }
        return high;
    }

    private int hex(int digits) {
        if (digits < 1 || digits > 6 || at + digits > pattern.length() || !pattern.substring(at, at + digits).matches("[0-9a-fA-F]+")) {
            throw refused("a code that is no hexadecimal number");
        }
        int value = Integer.parseInt(pattern.substring(at, at + digits), 16);
        at += digits;
        if (value > 0x10FFFF) {
            throw refused("a code beyond 10FFFF, which is no character");
        }
        return value;
    }

    private boolean more() {
        return at < pattern.length();
    }

    private char peek() {
        return pattern.charAt(at);
    }

    private char next() {
        return pattern.charAt(at++);
    }

    private boolean skip(char c) {
        if (more() && peek() == c) {
            at++;
            return true;
        }
        return false;
    }

    private RuntimeException refused(String what) {
        return Grammar.refused(field + " is a regular expression that has " + what + ", near character " + at + " of '"
                + (pattern.length() > 200 ? pattern.substring(0, 200) + "..." : pattern) + "'");
    }
}
