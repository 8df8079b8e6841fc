package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.List;
import java.util.function.Function;

/** Bounds of a schema's integers. */
final class SchemaNumbers {

    static final List<String> BOUNDS = List.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf");

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
