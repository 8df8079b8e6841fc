package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.List;
import java.util.function.Function;

/** Bounds of a schema's integers, and of how many characters, items or properties there are. */
final class SchemaNumbers {

    static final List<String> BOUNDS = List.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf");

    private static final int MOST_COUNT = 10_000;

    private SchemaNumbers() {
    }

    /**
     * @param refusal the problem for a reason
     */
    static Expression integer(JsonNode schema, Function<String, RuntimeException> refusal) {
        if (schema.has("multipleOf") && schema.get("multipleOf").asDouble() != 1) {
            throw refusal.apply("multipleOf is not supported");
        }
        BigInteger least = bound(schema, "minimum", RoundingMode.CEILING, 0, refusal);
        BigInteger above = bound(schema, "exclusiveMinimum", RoundingMode.FLOOR, 1, refusal);
        BigInteger most = bound(schema, "maximum", RoundingMode.FLOOR, 0, refusal);
        BigInteger below = bound(schema, "exclusiveMaximum", RoundingMode.CEILING, -1, refusal);
        least = least == null || above != null && above.compareTo(least) > 0 ? above : least;
        most = most == null || below != null && below.compareTo(most) < 0 ? below : most;
        if (least == null && most == null) {
            return Json.INTEGER;
        }
        if (least != null && most != null && least.compareTo(most) > 0) {
            throw refusal.apply("there is no integer from " + least + " to " + most);
        }
        return IntegerRange.of(least, most);
    }

    /** The least and the most of how many, from keywords of those names; -1 for any. */
    static int[] counts(JsonNode schema, String least, String most, Function<String, RuntimeException> refusal) {
        int from = count(schema, least, 0, refusal);
        int to = count(schema, most, -1, refusal);
        if (to >= 0 && to < from) {
            throw refusal.apply(least + " is more than " + most);
        }
        return new int[] {from, to};
    }

    private static int count(JsonNode schema, String keyword, int otherwise, Function<String, RuntimeException> refusal) {
        JsonNode count = schema.path(keyword);
        if (count.isMissingNode()) {
            return otherwise;
        }
        if (!count.isNumber() || count.asDouble() != count.asInt() || count.asInt() < 0 || count.asInt() > MOST_COUNT) {
            throw refusal.apply(keyword + " is " + count + "; it must be a whole number from 0 to " + MOST_COUNT);
        }
        return count.asInt();
    }

    private static BigInteger bound(JsonNode schema, String keyword, RoundingMode rounding, int beyond,
            Function<String, RuntimeException> refusal) {
        JsonNode bound = schema.path(keyword);
        if (bound.isMissingNode()) {
            return null;
        }
        if (!bound.isNumber()) {
            throw refusal.apply(keyword + " is " + bound + "; it must be a number");
        }
        BigDecimal value = bound.decimalValue();
        if (value.precision() - value.scale() > 300) {
            throw refusal.apply(keyword + " is too large");
        }
        return value.setScale(0, rounding).toBigInteger().add(BigInteger.valueOf(beyond));
    }
}
