package io.inlay.api;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import java.util.ArrayList;
import java.util.List;

/** Texts and token ids of requests, as OpenAI takes them: one text, several, one list of ids, or several. */
final class Prompts {

    private Prompts() {
    }

    /**
     * @param field of the body, for messages
     * @param most that may be given
     */
    static List<int[]> read(LlamaModel model, String field, JsonNode value, int most) {
        if (value == null || value.isNull()) {
            throw invalid("the body has no field '" + field + "'; give a text, or a list of token ids");
        }
        List<int[]> prompts = new ArrayList<>();
        if (value.isArray() && !value.isEmpty() && !value.get(0).isNumber()) {
            if (value.size() > most) {
                throw invalid(field + " has " + value.size() + " items; at most " + most + " are taken");
            }
            for (int i = 0; i < value.size(); i++) {
                prompts.add(one(model, field + "[" + i + "]", value.get(i)));
            }
        } else {
            prompts.add(one(model, field, value));
        }
        return prompts;
    }

    private static int[] one(LlamaModel model, String field, JsonNode value) {
        if (value.isTextual()) {
            return model.tokenizer().encode(value.asText(), true);
        }
        if (!value.isArray() || value.isEmpty()) {
            throw invalid(field + " is of the wrong type; give a text, or a list of token ids, or a list of either");
        }
        return ids(model, field, value);
    }

    /** Token ids, each of the vocabulary. */
    static int[] ids(LlamaModel model, String field, JsonNode list) {
        int[] ids = new int[list.size()];
        for (int i = 0; i < ids.length; i++) {
            JsonNode id = list.get(i);
            if (!id.canConvertToInt() || !id.isIntegralNumber() || id.intValue() < 0 || id.intValue() >= model.config().vocabularySize()) {
                throw invalid(field + "[" + i + "] is " + id + "; token ids are whole numbers from 0 to "
                        + (model.config().vocabularySize() - 1));
            }
            ids[i] = id.intValue();
        }
        return ids;
    }

    static Problem invalid(String message) {
        return new Problem(Problem.Code.INVALID_REQUEST, message);
    }
}
