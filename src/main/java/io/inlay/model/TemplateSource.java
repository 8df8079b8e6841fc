package io.inlay.model;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Rewrites a template's source so that it means to jinjava what it means to Jinja. Templates are written against Jinja to the space, and
 * a wrong space or a wrong branch is a wrong prompt that nobody notices.
 * <ul>
 * <li>White space, with {@code trim_blocks} and {@code lstrip_blocks} on (Jinja's documentation, "Whitespace Control"; jinja2/lexer.py):
 * a marker {@code -} removes all of it on its side. A block or comment (not an expression) that has only blanks in front of it on its
 * line loses them, unless marked {@code +}; the first line break after it goes, unless marked {@code +}. The rules are applied here: what
 * comes out has no markers and no comments, and its text stays as it is.
 * <li>{@code not} binds weaker than {@code is}, {@code in} and comparisons in Jinja, stronger in jinjava: its operand is parenthesized.
 * </ul>
 * A condition in a loop's head, which jinjava would ignore, becomes a {@code raise_exception}.
 */
final class TemplateSource {

    private static final Pattern TOKEN = Pattern.compile("'(?:\\\\.|[^'\\\\])*'|\"(?:\\\\.|[^\"\\\\])*\"|\\w+|\\s+|.", Pattern.DOTALL);
    private static final Pattern LOOP_CONDITION = Pattern.compile("\\s*for\\b(?:(?!\\belse\\b).)*\\bif\\b(?:(?!\\belse\\b).)*",
            Pattern.DOTALL);
    private static final String REFUSAL = "{{ raise_exception('it has a loop with a condition in its head (for ... in ... if ...), which "
            + "Inlay does not know; put an if inside of the loop') }}";
    private static final Pattern NOT_IN = Pattern.compile("\\s+in\\b");

    private final String source;
    private final StringBuilder out = new StringBuilder();
    private int at;
    private boolean lineStarts = true;

    private TemplateSource(String source) {
        this.source = source;
    }

    static String forJinjava(String template) {
        String source = template.replace("\r\n", "\n").replace('\r', '\n');
        if (source.endsWith("\n")) {
            source = source.substring(0, source.length() - 1); // keep_trailing_newline is off
        }
        return new TemplateSource(source).run();
    }

    private String run() {
        int tag = nextTag(at);
        while (tag >= 0) {
            char kind = source.charAt(tag + 1);
            text(source.substring(at, tag), kind, marker(tag + 2));
            int end = kind == '#' ? commentEnd(tag + 2) : tagEnd(tag + 2, kind == '%' ? '%' : '}');
            if (end < 0) {
                out.append(source, tag, source.length()); // unfinished: the engine says so
                return out.toString();
            }
            at = end + 2;
            String inner = inner(tag + 2, end);
            if (kind == '%' && LOOP_CONDITION.matcher(inner).matches()) {
                out.append(REFUSAL);
            }
            if (kind != '#') {
                out.append('{').append(kind).append(parenthesized(inner)).append(kind == '%' ? "%}" : "}}");
            }
            behind(kind, end);
            if (kind == '%' && inner.strip().equals("raw") && !raw()) {
                return out.toString();
            }
            tag = nextTag(at);
        }
        out.append(source, at, source.length());
        return out.toString();
    }

    private int nextTag(int from) {
        for (int i = source.indexOf('{', from); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            if ("{%#".indexOf(source.charAt(i + 1)) >= 0) {
                return i;
            }
        }
        return -1;
    }

    private char marker(int position) {
        char c = position < source.length() ? source.charAt(position) : ' ';
        return c == '-' || c == '+' ? c : ' ';
    }

    /** Text in front of a tag. */
    private void text(String text, char kind, char marker) {
        if (marker == '-') {
            out.append(text.stripTrailing());
            return;
        }
        int line = text.lastIndexOf('\n') + 1;
        boolean alone = (line > 0 || lineStarts) && text.substring(line).isBlank();
        out.append(marker == ' ' && kind != '{' && alone ? text.substring(0, line) : text);
    }

    private String inner(int from, int end) {
        int start = marker(from) == ' ' ? from : from + 1;
        int stop = end > start && marker(end - 1) != ' ' ? end - 1 : end;
        return source.substring(start, stop);
    }

    /** Whitespace behind the tag that ends at {@code end}. */
    private void behind(char kind, int end) {
        char marker = marker(end - 1);
        int from = at;
        if (marker == '-') {
            while (at < source.length() && Character.isWhitespace(source.charAt(at))) {
                at++;
            }
        } else if (kind != '{' && marker == ' ' && at < source.length() && source.charAt(at) == '\n') {
            at++;
        }
        lineStarts = at > from && source.charAt(at - 1) == '\n';
    }

    private int commentEnd(int from) {
        return source.indexOf("#}", from);
    }

    /** Where a tag's closing pair begins: outside of strings and of brackets that it opened itself. */
    private int tagEnd(int from, char close) {
        int open = 0;
        for (int i = from; i + 1 < source.length(); i++) {
            char c = source.charAt(i);
            if (c == '\'' || c == '"') {
                i = stringEnd(i);
            } else if (open == 0 && c == close && source.charAt(i + 1) == '}') {
                return i;
            } else if ("([{".indexOf(c) >= 0) {
                open++;
            } else if (")]}".indexOf(c) >= 0) {
                open--;
            }
        }
        return -1;
    }

    private int stringEnd(int from) {
        int i = from + 1;
        while (i < source.length() && source.charAt(i) != source.charAt(from)) {
            i += source.charAt(i) == '\\' ? 2 : 1;
        }
        return i;
    }

    /** Copies up to {@code {% endraw %}} as it stands; false when there is none. */
    private boolean raw() {
        for (int tag = source.indexOf("{%", at); tag >= 0; tag = source.indexOf("{%", tag + 2)) {
            int end = source.indexOf("%}", tag);
            if (end >= 0 && inner(tag + 2, end).strip().equals("endraw")) {
                text(source.substring(at, tag), '%', marker(tag + 2));
                out.append("{% endraw %}");
                at = end + 2;
                behind('%', end);
                return true;
            }
        }
        out.append(source, at, source.length());
        return false;
    }

    /** Gives every {@code not} brackets around what Jinja negates. */
    static String parenthesized(String expression) {
        StringBuilder result = new StringBuilder();
        Deque<Integer> negations = new ArrayDeque<>(); // depths of brackets at which a "not (" is open
        int depth = 0;
        String before = "";
        Matcher tokens = TOKEN.matcher(expression);
        while (tokens.find()) {
            String token = tokens.group();
            boolean ends = switch (token) {
                case "and", "or", "if", "else", ")", "]", "}", ",", ":" -> true;
                default -> false;
            };
            while (ends && !negations.isEmpty() && negations.peek() == depth) {
                negations.pop();
                result.append(')');
            }
            depth += "([{".contains(token) ? 1 : ")]}".contains(token) ? -1 : 0;
            result.append(token);
            boolean notIn = NOT_IN.matcher(expression).region(tokens.end(), expression.length()).lookingAt();
            if (token.equals("not") && !before.equals("is") && !notIn) {
                negations.push(depth);
                result.append(" (");
            }
            before = token.isBlank() ? before : token;
        }
        return result.append(")".repeat(negations.size())).toString();
    }
}
