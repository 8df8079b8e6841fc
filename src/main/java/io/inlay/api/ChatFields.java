package io.inlay.api;

import static io.inlay.api.AnswerFields.given;
import static io.inlay.api.Prompts.invalid;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A chat's messages as templates take them. */
final class ChatFields {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final TypeReference<Map<String, Object>> MAP = new TypeReference<>() {
    };

    private ChatFields() {
    }

    /**
     * Messages with their role and text; an assistant's with its tool calls, whose arguments are objects as templates expect; a tool's
     * with the id of the call that it answers.
     */
    static List<Map<String, Object>> messages(List<AnswerWire.Message> messages, int most) {
        if (messages == null || messages.isEmpty()) {
            throw invalid("the body has no field 'messages', or an empty one; give at least one message");
        }
        requireFew("messages", messages.size(), most);
        List<Map<String, Object>> plain = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            AnswerWire.Message message = messages.get(i);
            if (message == null || message.role() == null) {
                throw invalid("messages[" + i + "] has no field 'role'; it is system, user, assistant or tool");
            }
            boolean calls = given(message.tool_calls()) && !message.tool_calls().isEmpty();
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("role", message.role());
            one.put("content", calls && !given(message.content()) ? "" : content(message.content(), i, most));
            if (calls) {
                requireFew("messages[" + i + "].tool_calls", message.tool_calls().size(), most);
                one.put("tool_calls", calls(message.tool_calls(), "messages[" + i + "].tool_calls"));
            }
            if (message.tool_call_id() != null) {
                one.put("tool_call_id", message.tool_call_id());
            }
            if (message.name() != null) {
                one.put("name", message.name());
            }
            plain.add(one);
        }
        return plain;
    }

    private static List<Map<String, Object>> calls(JsonNode calls, String field) {
        List<Map<String, Object>> all = new ArrayList<>();
        for (int i = 0; i < calls.size(); i++) {
            JsonNode function = calls.get(i).path("function");
            if (!function.path("name").isTextual()) {
                throw invalid(field + "[" + i + "] has no function.name");
            }
            Map<String, Object> call = new LinkedHashMap<>();
            call.put("id", calls.get(i).path("id").asText());
            call.put("type", "function");
            Map<String, Object> called = new LinkedHashMap<>();
            called.put("name", function.path("name").asText());
            called.put("arguments", arguments(function.path("arguments"), field + "[" + i + "].function.arguments"));
            call.put("function", called);
            all.add(call);
        }
        return all;
    }

    /** OpenAI has arguments as JSON in a text; templates write them as JSON themselves. */
    private static Object arguments(JsonNode arguments, String field) {
        try {
            JsonNode read = arguments.isTextual() ? JSON.readTree(arguments.asText().isBlank() ? "{}" : arguments.asText()) : arguments;
            if (read.isObject()) {
                return JSON.convertValue(read, MAP);
            }
        } catch (JsonProcessingException notJson) {
            throw invalid(field + " is not JSON: " + notJson.getOriginalMessage());
        }
        throw invalid(field + " must be a JSON object in a text");
    }

    private static void requireFew(String field, int items, int most) {
        if (items > most) {
            throw invalid(field + " has " + items + " items; at most " + most + " are taken (inlay.limits.list-items)");
        }
    }

    /** A text, or OpenAI's list of text parts. */
    private static String content(JsonNode content, int index, int most) {
        if (content != null && content.isTextual()) {
            return content.asText();
        }
        if (content == null || !content.isArray()) {
            throw invalid("messages[" + index + "] has no field 'content' that is a text");
        }
        requireFew("messages[" + index + "].content", content.size(), most);
        StringBuilder text = new StringBuilder();
        for (JsonNode part : content) {
            if (!part.path("type").asText().equals("text")) {
                throw invalid("messages[" + index + "] has a part of type '" + part.path("type").asText() + "'; only text is taken");
            }
            text.append(part.path("text").asText());
        }
        return text.toString();
    }
}
