package io.inlay.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.lib.filter.AdvancedFilter;
import java.util.Map;

/**
 * The {@code tojson} filter as transformers defines it for chat templates: {@code json.dumps(value, ensure_ascii=False, indent=indent)},
 * without HTML's escapes.
 */
final class ToJson implements AdvancedFilter {

    private static final ObjectMapper ONE_LINE = PythonText.json();

    @Override
    public String getName() {
        return "tojson";
    }

    @Override
    public Object filter(Object value, JinjavaInterpreter interpreter, Object[] arguments, Map<String, Object> named) {
        Object indent = named.getOrDefault("indent", arguments.length > 0 ? arguments[0] : null);
        try {
            return indent instanceof Number spaces ? indented(value, spaces.intValue()) : ONE_LINE.writeValueAsString(value);
        } catch (JsonProcessingException failure) {
            throw new InterpretException("tojson of a value that is no JSON: " + failure.getOriginalMessage(), failure);
        }
    }

    /** A line a value, a space behind colons, nothing in empty lists and objects. */
    private static String indented(Object value, int spaces) throws JsonProcessingException {
        DefaultIndenter lines = new DefaultIndenter(" ".repeat(spaces), "\n");
        DefaultPrettyPrinter printer = new DefaultPrettyPrinter(Separators.createDefaultInstance()
                .withObjectFieldValueSpacing(Separators.Spacing.AFTER).withObjectEmptySeparator("").withArrayEmptySeparator(""));
        printer.indentArraysWith(lines);
        printer.indentObjectsWith(lines);
        return new ObjectMapper().writer(printer).writeValueAsString(value);
    }
}
