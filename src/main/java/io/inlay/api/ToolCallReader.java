package io.inlay.api;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;

/**
 * Finds tool calls in an answer's text as it grows: {@code <tool_call>{...}</tool_call>} anywhere (Hermes, Qwen), or a text that is
 * nothing but {@code {"name": ..., "parameters": ...}}, several of them with {@code ;} between, or a list of them, behind
 * {@code <|python_tag|>} or {@code [TOOL_CALLS]} or not (Llama 3.1, Mistral). Arguments are named {@code arguments} or {@code parameters}.
 * What could still become a call is held back; what turns out to be none, or calls no tool of the request, is text. Confined to one answer.
 */
final class ToolCallReader {

    private static final String OPEN = "<tool_call>";
    private static final String CLOSE = "</tool_call>";
    private static final List<String> PREFIXES = List.of("<|python_tag|>", "[TOOL_CALLS]");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final ObjectReader ONE = JSON.readerFor(JsonNode.class).with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private final Set<String> tools;
    private final StringBuilder held = new StringBuilder();
    private final List<AnswerWire.ToolCall> calls = new ArrayList<>();
    /** Whether all so far could be a call from its first character on. */
    private boolean beginning = true;

    /**
     * @param tools names of those that may be called
     */
    ToolCallReader(Set<String> tools) {
        this.tools = tools;
    }

    /** Adds text; returns what is surely no call. */
    String accept(String text) {
        held.append(text);
        if (beginning) {
            String start = held.toString().stripLeading();
            if (start.isEmpty() || "{[".indexOf(start.charAt(0)) >= 0
                    || PREFIXES.stream().anyMatch(prefix -> start.startsWith(prefix) || prefix.startsWith(start))) {
                return "";
            }
            beginning = false;
        }
        int from = held.indexOf(OPEN);
        if (from < 0) {
            from = held.length();
            for (int length = Math.min(OPEN.length() - 1, held.length()); length > 0; length--) {
                if (OPEN.startsWith(held.substring(held.length() - length))) {
                    from = held.length() - length;
                    break;
                }
            }
        }
        String shown = held.substring(0, from);
        held.delete(0, from);
        return shown;
    }

    /** At the text's end: what was held back and is no call. */
    String finish() {
        String rest = held.toString();
        held.setLength(0);
        if (beginning && !rest.isBlank()) {
            List<AnswerWire.ToolCall> found = bare(rest.strip());
            if (found != null) {
                calls.addAll(found);
                return "";
            }
            return rest;
        }
        return tagged(rest);
    }

    /** Numbered in order. */
    List<AnswerWire.ToolCall> calls() {
        List<AnswerWire.ToolCall> numbered = new ArrayList<>();
        calls.forEach(call -> numbered.add(new AnswerWire.ToolCall(numbered.size(), call.id(), call.type(), call.function())));
        return numbered;
    }

    private String tagged(String text) {
        StringBuilder left = new StringBuilder();
        int at = 0;
        for (int open = text.indexOf(OPEN); open >= 0; open = text.indexOf(OPEN, at)) {
            left.append(text, at, open);
            int close = text.indexOf(CLOSE, open);
            int end = close < 0 ? text.length() : close;
            AnswerWire.ToolCall call = call(read(text.substring(open + OPEN.length(), end).strip()));
            at = close < 0 ? text.length() : close + CLOSE.length();
            if (call == null) {
                left.append(text, open, at);
            } else {
                calls.add(call);
            }
        }
        left.append(text.substring(at));
        return calls.isEmpty() ? left.toString() : left.toString().stripTrailing();
    }

    /** The calls that this text is made of; null if it is anything else. */
    private List<AnswerWire.ToolCall> bare(String text) {
        String body = text;
        for (String prefix : PREFIXES) {
            body = body.startsWith(prefix) ? body.substring(prefix.length()).strip() : body;
        }
        List<JsonNode> values = new ArrayList<>();
        try (JsonParser parser = JSON.createParser(body)) {
            while (parser.nextToken() != null) {
                values.add(JSON.readTree(parser));
                int end = (int) parser.currentLocation().getCharOffset();
                String rest = body.substring(end).stripLeading();
                if (rest.startsWith(";")) {
                    List<AnswerWire.ToolCall> others = bare(rest.substring(1).strip());
                    List<AnswerWire.ToolCall> own = all(values);
                    if (others == null || own == null) {
                        return null;
                    }
                    own.addAll(others);
                    return own;
                }
            }
        } catch (IOException notJson) {
            return null;
        }
        return all(values);
    }

    private List<AnswerWire.ToolCall> all(List<JsonNode> values) {
        List<AnswerWire.ToolCall> found = new ArrayList<>();
        for (JsonNode value : values) {
            for (JsonNode each : value.isArray() ? value : List.of(value)) {
                AnswerWire.ToolCall call = call(each);
                if (call == null) {
                    return null;
                }
                found.add(call);
            }
        }
        return found.isEmpty() ? null : found;
    }

    private static JsonNode read(String json) {
        try {
            return ONE.readValue(json);
        } catch (JsonProcessingException notJson) {
            return null;
        }
    }

    private AnswerWire.ToolCall call(JsonNode value) {
        if (value == null || !value.isObject() || !tools.contains(value.path("name").asText())) {
            return null;
        }
        JsonNode arguments = value.has("arguments") ? value.get("arguments") : value.path("parameters");
        if (!arguments.isObject() && !arguments.isMissingNode() && !arguments.isTextual()) {
            return null;
        }
        String text = arguments.isMissingNode() ? "{}" : arguments.isTextual() ? arguments.asText() : arguments.toString();
        return new AnswerWire.ToolCall(null, "call_" + UUID.randomUUID().toString().replace("-", "").substring(0, 24), "function",
                new AnswerWire.Function(value.path("name").asText(), text));
    }
}
