package io.inlay.model;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.hubspot.jinjava.el.JinjavaInterpreterResolver;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import com.hubspot.jinjava.lib.filter.Filter;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import jinjava.javax.el.CompositeELResolver;
import jinjava.javax.el.ELContext;
import jinjava.javax.el.ELResolver;

/**
 * Python's string methods, {@code trim} and JSON spacing for chat templates, which call them by Python's names and expect Python's idea
 * of white space.
 */
final class PythonText extends CompositeELResolver {

    /** {@code json.dumps}: a space behind commas and colons. */
    private static final class Spaced extends MinimalPrettyPrinter {

        @Override
        public void writeObjectFieldValueSeparator(JsonGenerator json) throws IOException {
            json.writeRaw(": ");
        }

        @Override
        public void writeObjectEntrySeparator(JsonGenerator json) throws IOException {
            json.writeRaw(", ");
        }

        @Override
        public void writeArrayValueSeparator(JsonGenerator json) throws IOException {
            json.writeRaw(", ");
        }
    }

    /** The {@code trim} filter. */
    static final Filter TRIM = new Filter() {

        @Override
        public String getName() {
            return "trim";
        }

        @Override
        public Object filter(Object text, JinjavaInterpreter interpreter, String... characters) {
            return text instanceof String string ? strip(string, characters, true, true) : text;
        }
    };

    /** The test {@code is iterable}, which texts pass too. */
    static final ExpTest ITERABLE = new ExpTest() {

        @Override
        public String getName() {
            return "iterable";
        }

        @Override
        public boolean evaluate(Object value, JinjavaInterpreter interpreter, Object... arguments) {
            return value instanceof CharSequence || value instanceof Iterable<?> || value instanceof Map<?, ?>;
        }
    };

    private PythonText() {
    }

    /** Resolves the methods of strings as Python does, everything else as jinjava does. */
    static ELResolver resolver() {
        PythonText resolver = new PythonText();
        resolver.add(JinjavaInterpreterResolver.DEFAULT_RESOLVER_READ_ONLY);
        return resolver;
    }

    static ObjectMapper json() {
        return JsonMapper.builder().defaultPrettyPrinter(new Spaced()).enable(SerializationFeature.INDENT_OUTPUT).build();
    }

    @Override
    public Object invoke(ELContext context, Object base, Object method, Class<?>[] types, Object[] arguments) {
        if (base instanceof String text && Arrays.stream(arguments).allMatch(String.class::isInstance)) {
            Object result = call(text, method.toString(), Arrays.copyOf(arguments, arguments.length, String[].class));
            if (result != null) {
                context.setPropertyResolved(true);
                return result;
            }
        }
        return super.invoke(context, base, method, types, arguments);
    }

    /** Null for what is not one of Python's, or has arguments of another kind than these. */
    private static Object call(String text, String method, String[] arguments) {
        return switch (method + "/" + arguments.length) {
            case "strip/0", "strip/1" -> strip(text, arguments, true, true);
            case "lstrip/0", "lstrip/1" -> strip(text, arguments, true, false);
            case "rstrip/0", "rstrip/1" -> strip(text, arguments, false, true);
            case "split/0" -> strip(text, arguments, true, true).isEmpty() ? List.of()
                    : List.of(strip(text, arguments, true, true).split("(?U)\\s+"));
            case "split/1" -> split(text, arguments[0]);
            case "startswith/1" -> text.startsWith(arguments[0]);
            case "endswith/1" -> text.endsWith(arguments[0]);
            case "upper/0" -> text.toUpperCase(Locale.ROOT);
            case "lower/0" -> text.toLowerCase(Locale.ROOT);
            case "replace/2" -> text.replace(arguments[0], arguments[1]);
            default -> null;
        };
    }

    private static String strip(String text, String[] characters, boolean left, boolean right) {
        int start = 0;
        int end = text.length();
        while (left && start < end && strips(text.charAt(start), characters)) {
            start++;
        }
        while (right && end > start && strips(text.charAt(end - 1), characters)) {
            end--;
        }
        return text.substring(start, end);
    }

    private static boolean strips(char c, String[] characters) {
        return characters.length > 0 ? characters[0].indexOf(c) >= 0
                : Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
    }

    private static List<String> split(String text, String separator) {
        List<String> parts = new ArrayList<>();
        int from = 0;
        for (int at = text.indexOf(separator); at >= 0 && !separator.isEmpty(); at = text.indexOf(separator, from)) {
            parts.add(text.substring(from, at));
            from = at + separator.length();
        }
        parts.add(text.substring(from));
        return parts;
    }
}
