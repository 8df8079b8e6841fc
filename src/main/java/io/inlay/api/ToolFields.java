package io.inlay.api;

import static io.inlay.api.AnswerFields.given;
import static io.inlay.api.Prompts.invalid;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.generation.Grammars;
import io.inlay.generation.grammar.SchemaGrammar;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.model.ChatTemplate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * A chat's tools: what its template is told of them, and what calls of them look like. With {@code tool_choice} none they are not told of;
 * with required, or a function's name, the answer is one call and nothing else, its arguments by the function's schema.
 *
 * @param functions by name, with their parameters' schemas
 * @param forced functions of which one must be called; empty where none must
 */
record ToolFields(List<Map<String, Object>> tools, Map<String, JsonNode> functions, List<String> forced) {

    private static final ToolFields NONE = new ToolFields(List.of(), Map.of(), List.of());
    private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9_.-]{1,64}");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final TypeReference<Map<String, Object>> MAP = new TypeReference<>() {
    };

    static ToolFields of(AnswerWire.ChatRequest body, int most) {
        AnswerFields.requireNothing("functions", given(body.functions()) || given(body.function_call()), "give tools and tool_choice");
        if (!given(body.tools()) || body.tools().isEmpty()) {
            if (given(body.tool_choice()) && !body.tool_choice().asText().equals("none") && !body.tool_choice().asText().equals("auto")) {
                throw invalid("tool_choice is " + body.tool_choice() + ", and there are no tools; give tools");
            }
            return NONE;
        }
        if (!body.tools().isArray() || body.tools().size() > most) {
            throw invalid("tools must be a list of at most " + most + " functions (inlay.limits.list-items)");
        }
        List<Map<String, Object>> tools = new ArrayList<>();
        Map<String, JsonNode> functions = new LinkedHashMap<>();
        for (int i = 0; i < body.tools().size(); i++) {
            JsonNode tool = body.tools().get(i);
            String name = tool.path("function").path("name").asText();
            if (!tool.path("type").asText().equals("function") || !NAME.matcher(name).matches()) {
                throw invalid("tools[" + i + "] must have the type 'function', and a function.name of letters, digits, '_', '-' and '.', "
                        + "64 characters at most");
            }
            JsonNode parameters = tool.path("function").path("parameters");
            functions.put(name, parameters.isObject() ? parameters : JSON.createObjectNode().put("type", "object").set("properties",
                    JSON.createObjectNode()));
            tools.add(JSON.convertValue(tool, MAP));
        }
        JsonNode choice = body.tool_choice();
        if (!given(choice) || choice.asText().equals("auto")) {
            return new ToolFields(tools, functions, List.of());
        }
        return switch (choice.asText()) {
            case "none" -> NONE;
            case "required" -> new ToolFields(tools, functions, List.copyOf(functions.keySet()));
            default -> {
                String name = choice.path("function").path("name").asText();
                if (!functions.containsKey(name)) {
                    throw invalid("tool_choice is " + choice + "; it must be none, auto, required, or a function that is one of tools");
                }
                yield new ToolFields(tools, functions, List.of(name));
            }
        };
    }

    /** What a call must look like, in the way of the model's template; empty where none must be. */
    Optional<TokenGrammar> grammar(ChatTemplate template, Grammars grammars) {
        if (forced.isEmpty()) {
            return Optional.empty();
        }
        List<SchemaGrammar.Framed> options = new ArrayList<>();
        for (String name : forced) {
            JsonNode schema = functions.get(name);
            String call = "{\"name\": \"" + name + "\", ";
            if (schema instanceof ObjectNode object && !object.has("type")) {
                schema = object.deepCopy().put("type", "object");
            }
            if (template.mentions("<tool_call>")) {
                options.add(new SchemaGrammar.Framed("<tool_call>\n" + call + "\"arguments\": ", schema, "}\n</tool_call>"));
            } else if (template.mentions("[TOOL_CALLS]")) {
                options.add(new SchemaGrammar.Framed("[" + call + "\"arguments\": ", schema, "}]"));
            } else {
                options.add(new SchemaGrammar.Framed(call + "\"parameters\": ", schema, "}"));
            }
        }
        return Optional.of(grammars.of("tools " + options, () -> SchemaGrammar.framed("tools", options)));
    }
}
