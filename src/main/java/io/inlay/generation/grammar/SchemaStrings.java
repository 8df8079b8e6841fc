package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * A schema's strings: any, of a length in characters, with a match of {@code pattern}, or of a {@code format}: date, time, date-time,
 * uuid, email, ipv4, hostname. Only one of the three at a time.
 */
final class SchemaStrings {

    private static final String DATE = "[12][0-9]{3}-(0[13578]-(0[1-9]|[12][0-9]|3[01])|1[02]-(0[1-9]|[12][0-9]|3[01])"
            + "|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
    private static final String TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])";
    private static final String LABEL = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";
    private static final String BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

    private static final Map<String, String> FORMATS = Map.of("date", DATE, "time", TIME, "date-time", DATE + "T" + TIME,
            "uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "email", "[A-Za-z0-9_+-]{1,20}(\\.[A-Za-z0-9_+-]{1,20}){0,2}@(" + LABEL + "\\.){1,3}[a-z]{2,10}",
            "hostname", LABEL + "(\\." + LABEL + "){0,4}", "ipv4", BYTE + "(\\." + BYTE + "){3}");

    /** Of numbers in OpenAPI; they ask for nothing. */
    private static final Set<String> EMPTY_FORMATS = Set.of("int32", "int64", "float", "double", "string");

    private final String source;

    SchemaStrings(String source) {
        this.source = source;
    }

    Expression of(JsonNode schema, String at) {
        String format = schema.path("format").asText("string");
        boolean length = schema.has("minLength") || schema.has("maxLength");
        boolean pattern = schema.has("pattern");
        boolean formatted = !EMPTY_FORMATS.contains(format);
        if ((length ? 1 : 0) + (pattern ? 1 : 0) + (formatted ? 1 : 0) > 1) {
            throw refused(at, "of pattern, format and minLength or maxLength only one is supported at a time; bound the length "
                    + "in the pattern");
        }
        if (pattern) {
            return Json.string(RegexReader.search(source + "'s schema at " + at + ": pattern", schema.get("pattern").asText(),
                    Json::character));
        }
        if (formatted) {
            if (!FORMATS.containsKey(format)) {
                throw refused(at, "format '" + format + "' is not supported; those are: " + new TreeSet<>(FORMATS.keySet()));
            }
            return Json.string(RegexReader.whole("format", FORMATS.get(format)));
        }
        if (!length) {
            return Json.STRING;
        }
        int[] counts = SchemaNumbers.counts(schema, "minLength", "maxLength", why -> refused(at, why));
        return Json.string(new Expression.Repeat(Json.CHARACTER, counts[0], counts[1]));
    }

    private RuntimeException refused(String at, String what) {
        return Grammar.refused(source + "'s schema at " + at + ": " + what);
    }
}
