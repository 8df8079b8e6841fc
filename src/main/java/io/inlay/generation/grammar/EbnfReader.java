package io.inlay.generation.grammar;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Grammars in llama.cpp's GBNF: rules {@code name ::= ...}, alternatives by {@code |}, groups, texts in double quotes, classes in square
 * brackets, {@code .}, the quantifiers {@code * + ? {m} {m,} {m,n}}, comments from {@code #}. The answer is what {@code root} says. A rule
 * must not call itself before it has taken a character.
 */
final class EbnfReader {

    private static final String FORM = "; a grammar has lines like: root ::= \"yes\" | \"no\"";

    private static final int MOST_CHARACTERS = 200_000;
    private static final int DEEPEST = 200;

    private final String text;
    private final Map<String, Expression> rules = new LinkedHashMap<>();
    private int at;
    private int depth;

    private EbnfReader(String text) {
        this.text = text;
    }

    static Grammar read(String text) {
        EbnfReader reader = new EbnfReader(text);
        if (text.length() > MOST_CHARACTERS) {
            throw Grammar.refused("grammar has " + text.length() + " characters; at most " + MOST_CHARACTERS + " are taken");
        }
        reader.space(true);
        while (reader.at < text.length()) {
            reader.rule();
            reader.space(true);
        }
        if (!reader.rules.containsKey("root")) {
            throw Grammar.refused("grammar has no rule 'root'" + FORM);
        }
        return new Grammar("grammar", Expression.rule("root"), reader.rules);
    }

    private void rule() {
        String name = name();
        space(false);
        if (!text.startsWith("::=", at)) {
            throw refused("rule '" + name + "' needs ::= behind its name");
        }
        at += 3;
        space(true);
        if (rules.put(name, alternatives(false)) != null) {
            throw refused("rule '" + name + "' is there twice");
        }
    }

    private String name() {
        int start = at;
        while (at < text.length() && (Character.isLetterOrDigit(text.charAt(at)) || "-_".indexOf(text.charAt(at)) >= 0)) {
            at++;
        }
        if (start == at) {
            throw refused("a rule's name is expected here");
        }
        return text.substring(start, at);
    }

    private Expression alternatives(boolean grouped) {
        List<Expression> options = new ArrayList<>();
        options.add(sequence(grouped));
        while (skip('|')) {
            space(true);
            options.add(sequence(grouped));
        }
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private Expression sequence(boolean grouped) {
        List<Expression> parts = new ArrayList<>();
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '"') {
                parts.add(quantified(quoted()));
            } else if (c == '[') {
                parts.add(quantified(RegexReader.whole("grammar", characterClass())));
            } else if (c == '(') {
                at++;
                space(true);
                if (++depth > DEEPEST) {
                    throw refused("groups are more than " + DEEPEST + " deep");
                }
                Expression inner = alternatives(true);
                depth--;
                if (!skip(')')) {
                    throw refused("a group needs its ')'");
                }
                parts.add(quantified(inner));
            } else if (c == '.') {
                at++;
                parts.add(quantified(CharacterSet.ALL.utf8()));
            } else if (Character.isLetterOrDigit(c) && !beginsRule()) {
                parts.add(quantified(Expression.rule(name())));
            } else {
                break;
            }
            space(grouped || continues());
        }
        return new Expression.Sequence(parts);
    }

    /** Whether the next line goes on with this rule: it begins neither a rule nor a comment, and not nothing. */
    private boolean continues() {
        int kept = at;
        space(true);
        boolean more = at < text.length() && !(Character.isLetterOrDigit(text.charAt(at)) && beginsRule());
        at = kept;
        return more;
    }

    private boolean beginsRule() {
        int kept = at;
        name();
        space(false);
        boolean begins = text.startsWith("::=", at);
        at = kept;
        return begins;
    }

    private Expression quoted() {
        at++;
        StringBuilder pattern = new StringBuilder();
        while (true) {
            if (at >= text.length() || text.charAt(at) == '\n') {
                throw refused("a text needs its closing '\"'");
            }
            char c = text.charAt(at++);
            if (c == '"') {
                break;
            }
            if (c == '\\' && at < text.length()) {
                pattern.append(c).append(text.charAt(at++));
            } else {
                pattern.append("\\^$.|?*+()[]{}".indexOf(c) >= 0 ? "\\" + c : String.valueOf(c));
            }
        }
        return RegexReader.whole("grammar", pattern.toString());
    }

    private String characterClass() {
        int start = at++;
        if (at < text.length() && text.charAt(at) == '^') {
            at++;
        }
        while (at < text.length() && text.charAt(at) != ']') {
            at += text.charAt(at) == '\\' ? 2 : 1;
        }
        if (at >= text.length()) {
            throw refused("a class needs its ']'");
        }
        at++;
        return text.substring(start, at);
    }

    private Expression quantified(Expression what) {
        Expression result = what;
        while (at < text.length()) {
            if (skip('*')) {
                result = Expression.any(result);
            } else if (skip('+')) {
                result = new Expression.Repeat(result, 1, -1);
            } else if (skip('?')) {
                result = Expression.optional(result);
            } else if (text.startsWith("{", at)) {
                int end = text.indexOf('}', at);
                String counts = end < 0 ? "" : text.substring(at + 1, end).replace(" ", "");
                if (!counts.matches("\\d{1,4}(,\\d{0,4})?")) {
                    throw refused("a repetition is {m}, {m,} or {m,n} with numbers below 10000");
                }
                String[] parts = counts.split(",", -1);
                int least = Integer.parseInt(parts[0]);
                int most = parts.length == 1 ? least : parts[1].isEmpty() ? -1 : Integer.parseInt(parts[1]);
                result = new Expression.Repeat(result, least, most);
                at = end + 1;
            } else {
                return result;
            }
        }
        return result;
    }

    private boolean skip(char c) {
        if (at < text.length() && text.charAt(at) == c) {
            at++;
            return true;
        }
        return false;
    }

    private void space(boolean lines) {
        while (at < text.length()) {
            char c = text.charAt(at);
            if (c == '#') {
                while (at < text.length() && text.charAt(at) != '\n') {
                    at++;
                }
            } else if (c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r')) {
                at++;
            } else {
                return;
            }
        }
    }

    private RuntimeException refused(String what) {
        int line = 1 + (int) text.substring(0, Math.min(at, text.length())).chars().filter(c -> c == '\n').count();
        return Grammar.refused("grammar, line " + line + ": " + what + FORM);
    }
}
