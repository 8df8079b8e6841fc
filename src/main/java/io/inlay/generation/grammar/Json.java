package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259) as expressions. Behind brackets and commas, and in front of
 * closing brackets, may stand what models write: nothing, a space, or a line break with an indentation; behind colons a space.
 * Numbers have at most 16 digits in front of and behind the point and two in the exponent, so that every reader has room for them.
 */
final class Json {

    /** Where space may be; by a rule, as what follows. */
    static final Expression SPACE = Expression.rule("json space");

    private static final CharacterSet CONTROL = CharacterSet.of(0, 0x1F);
    private static final CharacterSet ESCAPED = CONTROL.or(CharacterSet.of("\"\\"));
    private static final String SHORT_ESCAPES = "\"\\/\b\f\n\r\t";
    private static final String SHORT_LETTERS = "\"\\/bfnrt";

    static final Expression INTEGER = RegexReader.whole("JSON", "-?(0|[1-9][0-9]{0,15})");
    static final Expression NUMBER = RegexReader.whole("JSON", "-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?");
    static final Expression BOOLEAN = Expression.choice(Expression.text("true"), Expression.text("false"));
    static final Expression NULL = Expression.text("null");

    /** Any character of a string, one of Unicode's: as it is, by a letter, or by a code that is no surrogate. */
    static final Expression CHARACTER = Expression.choice(ESCAPED.complement().utf8(),
            RegexReader.whole("JSON", "\\\\([\"\\\\/bfnrt]|u([0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))"));

    private static final Expression QUOTE = Expression.text("\"");

    /** Any value, object, array and string, by rules of these names. */
    static final Expression VALUE = Expression.rule("json value");
    static final Expression OBJECT = Expression.rule("json object");
    static final Expression ARRAY = Expression.rule("json array");
    static final Expression STRING = Expression.rule("json string");

    private Json() {
    }

    /** What these refer to. */
    static Map<String, Expression> rules() {
        Map<String, Expression> rules = new LinkedHashMap<>();
        rules.put("json value", Expression.choice(OBJECT, ARRAY, STRING, NUMBER, BOOLEAN, NULL));
        rules.put("json object", members(Expression.optional(list(member(STRING, VALUE), 1, -1))));
        rules.put("json array", elements(Expression.optional(list(VALUE, 1, -1))));
        rules.put("json space", Expression.optional(Expression.choice(Expression.text(" "), Expression.sequence(Expression.text("\n"),
                new Expression.Repeat(Expression.choice(Expression.text(" "), Expression.text("\t")), 0, 32)))));
        rules.put("json string", string(Expression.any(CHARACTER)));
        return rules;
    }

    /** An object of these members. */
    static Expression members(Expression members) {
        return Expression.sequence(Expression.text("{"), SPACE, members, SPACE, Expression.text("}"));
    }

    static Expression elements(Expression elements) {
        return Expression.sequence(Expression.text("["), SPACE, elements, SPACE, Expression.text("]"));
    }

    static Expression member(Expression name, Expression value) {
        return Expression.sequence(name, Expression.text(":"), Expression.optional(Expression.text(" ")), value);
    }

    static Expression comma() {
        return Expression.sequence(Expression.text(","), SPACE);
    }

    /**
     * Values with commas between them.
     *
     * @param least 1 or more
     * @param most negative for any number
     */
    static Expression list(Expression value, int least, int most) {
        return Expression.sequence(value, new Expression.Repeat(Expression.sequence(comma(), value), least - 1, most < 0 ? -1 : most - 1));
    }

    static Expression string(Expression characters) {
        return Expression.sequence(QUOTE, characters, QUOTE);
    }

    /** One of these characters as it is written in a string: with a backslash where it needs one. */
    static Expression character(CharacterSet set) {
        List<Expression> options = new ArrayList<>();
        CharacterSet plain = set.minus(ESCAPED);
        if (!plain.isEmpty()) {
            options.add(plain.utf8());
        }
        for (int c = 0; c < 0x80; c++) {
            if (set.contains(c) && ESCAPED.contains(c)) {
                options.add(Expression.text(escape(c)));
            }
        }
        return new Expression.Choice(options);
    }

    private static String escape(int character) {
        int known = SHORT_ESCAPES.indexOf(character);
        return known >= 0 ? "\\" + SHORT_LETTERS.charAt(known) : String.format("\\u%04x", character);
    }

    /** A text as a string, written one way. */
    static Expression text(String text) {
        StringBuilder json = new StringBuilder("\"");
        text.codePoints().forEach(c -> {
            if (ESCAPED.contains(c)) {
                json.append(escape(c));
            } else {
                json.appendCodePoint(c);
            }
        });
        return Expression.text(json.append('"').toString());
    }

    /** This value alone, with free space. */
    static Expression literal(JsonNode value) {
        if (value.isObject()) {
            List<Expression> parts = new ArrayList<>();
            value.properties().forEach(member -> {
                if (!parts.isEmpty()) {
                    parts.add(comma());
                }
                parts.add(member(text(member.getKey()), literal(member.getValue())));
            });
            return members(new Expression.Sequence(parts));
        }
        if (value.isArray()) {
            List<Expression> parts = new ArrayList<>();
            value.forEach(element -> {
                if (!parts.isEmpty()) {
                    parts.add(comma());
                }
                parts.add(literal(element));
            });
            return elements(new Expression.Sequence(parts));
        }
        return value.isTextual() ? text(value.asText()) : Expression.text(value.toString());
    }

    /** Strings that are none of these: of characters that need no backslash. */
    static Expression otherThan(List<String> texts) {
        return Expression.sequence(QUOTE, others(texts.stream().map(text -> text.codePoints().toArray()).toList(), 0), QUOTE);
    }

    private static Expression others(List<int[]> texts, int at) {
        CharacterSet free = ESCAPED.complement();
        List<Expression> options = new ArrayList<>();
        Map<Integer, List<int[]>> beginnings = new LinkedHashMap<>();
        boolean mayEnd = true;
        for (int[] text : texts) {
            if (text.length == at) {
                mayEnd = false;
            } else {
                beginnings.computeIfAbsent(text[at], _ -> new ArrayList<>()).add(text);
            }
        }
        CharacterSet rest = free;
        for (Map.Entry<Integer, List<int[]>> each : beginnings.entrySet()) {
            int character = each.getKey();
            if (free.contains(character)) {
                CharacterSet one = CharacterSet.of(character, character);
                rest = rest.minus(one);
                options.add(Expression.sequence(one.utf8(), others(each.getValue(), at + 1)));
            }
        }
        options.add(Expression.sequence(rest.utf8(), Expression.any(free.utf8())));
        if (mayEnd) {
            options.add(Expression.EMPTY);
        }
        return new Expression.Choice(options);
    }
}
