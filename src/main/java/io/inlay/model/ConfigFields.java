package io.inlay.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * A JSON object of a model folder's file, read by typed fields. Refusals name file and field.
 *
 * @param path where the object stands in the file: empty, or {@code rope_parameters.}
 */
record ConfigFields(Path file, String path, JsonNode json) {

    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    /** @throws Problem {@code CORRUPT_CHECKPOINT} when there is no such file or it is no JSON object */
    static ConfigFields read(Path file) {
        if (!Files.isRegularFile(file)) {
            throw corrupt(file, " is missing; a model folder is in Hugging Face layout, with config.json, tokenizer.json and "
                    + "model.safetensors", null);
        }
        try {
            JsonNode json = JSON.readTree(file.toFile());
            if (!json.isObject()) {
                throw corrupt(file, " is not a JSON object; fetch the file again", null);
            }
            return new ConfigFields(file, "", json);
        } catch (JsonProcessingException malformed) {
            throw corrupt(file, " is not JSON: " + malformed.getOriginalMessage() + "; fetch the file again", malformed);
        } catch (IOException failure) {
            throw corrupt(file, " cannot be read: " + failure.getMessage() + "; check its permissions", failure);
        }
    }

    /** As {@link #read}, but a file that is not there is an empty object. */
    static ConfigFields readIfPresent(Path file) {
        return Files.exists(file) ? read(file) : new ConfigFields(file, "", JSON.createObjectNode());
    }

    private static Problem corrupt(Path file, String what, Exception cause) {
        return new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + what, cause);
    }

    Problem wrong(String field, String mustBe) {
        return corrupt(file, " has " + path + field + " = " + json.get(field) + "; it must be " + mustBe, null);
    }

    Problem unsupported(String field, String supported) {
        JsonNode value = json.get(field);
        return new Problem(Problem.Code.UNSUPPORTED_MODEL, file + " has " + path + field + " = " + value + "; " + supported);
    }

    boolean has(String field) {
        return json.hasNonNull(field);
    }

    /** The object in a field; of null or nothing, an empty one. */
    ConfigFields object(String field) {
        if (!has(field)) {
            return new ConfigFields(file, path + field + ".", JSON.createObjectNode());
        }
        if (!json.get(field).isObject()) {
            throw wrong(field, "an object");
        }
        return new ConfigFields(file, path + field + ".", json.get(field));
    }

    private void require(String field) {
        if (!has(field)) {
            throw corrupt(file, " has no " + path + field + "; fetch the file again", null);
        }
    }

    int positive(String field) {
        require(field);
        JsonNode value = json.get(field);
        if (!value.isInt() || value.intValue() <= 0) {
            throw wrong(field, "a whole number from 1 to " + Integer.MAX_VALUE);
        }
        return value.intValue();
    }

    int positive(String field, int otherwise) {
        return has(field) ? positive(field) : otherwise;
    }

    double number(String field) {
        require(field);
        JsonNode value = json.get(field);
        if (!value.isNumber() || !(value.doubleValue() > 0) || Double.isInfinite(value.doubleValue())) {
            throw wrong(field, "a positive number");
        }
        return value.doubleValue();
    }

    double number(String field, double otherwise) {
        return has(field) ? number(field) : otherwise;
    }

    boolean flag(String field) {
        if (has(field) && !json.get(field).isBoolean()) {
            throw wrong(field, "true or false");
        }
        return has(field) && json.get(field).booleanValue();
    }

    String text(String field, String otherwise) {
        if (has(field) && !json.get(field).isTextual()) {
            throw wrong(field, "a string");
        }
        return has(field) ? json.get(field).textValue() : otherwise;
    }

    /** A token's id, or a list of them. */
    List<Integer> ids(String field) {
        JsonNode value = json.path(field);
        List<Integer> ids = new ArrayList<>();
        for (JsonNode each : value.isArray() ? value : has(field) ? List.of(value) : List.<JsonNode>of()) {
            if (!each.isInt() || each.intValue() < 0) {
                throw wrong(field, "a token id or a list of token ids");
            }
            ids.add(each.intValue());
        }
        return ids;
    }

    OptionalInt id(String field) {
        return ids(field).stream().mapToInt(Integer::intValue).findFirst();
    }
}
