package io.inlay.api;

import static io.inlay.api.AnswerFields.given;
import static io.inlay.api.Prompts.invalid;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.generation.Grammars;
import io.inlay.generation.grammar.Grammar;
import io.inlay.generation.grammar.SchemaGrammar;
import io.inlay.generation.grammar.TokenGrammar;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * What a request's answer must follow: OpenAI's {@code response_format} of type json_object or json_schema, and of type regex
 * ({@code pattern}) or grammar ({@code grammar}); vLLM's {@code structured_outputs} and {@code guided_*}. One of them at most.
 */
final class GrammarFields {

    private final Grammars grammars;
    private final List<Optional<TokenGrammar>> found = new ArrayList<>();

    private GrammarFields(Grammars grammars) {
        this.grammars = grammars;
    }

    static Optional<TokenGrammar> of(AnswerWire.Request body, Grammars grammars) {
        GrammarFields fields = new GrammarFields(grammars);
        if (given(body.response_format())) {
            fields.responseFormat(body.response_format());
        }
        if (given(body.structured_outputs())) {
            fields.structured(body.structured_outputs());
        }
        if (given(body.guided_json())) {
            fields.json("guided_json", body.guided_json());
        }
        if (given(body.guided_regex())) {
            fields.regex("guided_regex", body.guided_regex());
        }
        if (given(body.guided_choice())) {
            fields.choice("guided_choice", body.guided_choice());
        }
        if (given(body.guided_grammar())) {
            fields.grammar("guided_grammar", body.guided_grammar());
        }
        if (fields.found.size() > 1) {
            throw invalid("response_format, structured_outputs and guided_* ask for more than one form of answer; give one");
        }
        return fields.found.isEmpty() ? Optional.empty() : fields.found.getFirst();
    }

    private void responseFormat(JsonNode format) {
        switch (format.path("type").asText()) {
            case "text" -> {
            }
            case "json_object" -> add("any object", () -> SchemaGrammar.anyObject("response_format"));
            case "json_schema" -> {
                JsonNode schema = format.path("json_schema").path("schema");
                if (!schema.isObject()) {
                    throw invalid("response_format has no json_schema.schema that is an object; give the schema there");
                }
                json("response_format", schema);
            }
            case "regex" -> regex("response_format.pattern", format.path("pattern"));
            case "grammar" -> grammar("response_format.grammar", format.path("grammar"));
            default -> throw invalid("response_format.type is " + format.path("type")
                    + "; it must be text, json_object, json_schema, regex or grammar");
        }
    }

    private void structured(JsonNode outputs) {
        outputs.properties().forEach(entry -> {
            String field = "structured_outputs." + entry.getKey();
            JsonNode value = entry.getValue();
            if (!given(value)) {
                return;
            }
            switch (entry.getKey()) {
                case "json" -> json(field, value);
                case "regex" -> regex(field, value);
                case "choice" -> choice(field, value);
                case "grammar" -> grammar(field, value);
                case "json_object" -> {
                    if (value.asBoolean()) {
                        add("any object", () -> SchemaGrammar.anyObject(field));
                    }
                }
                default -> throw invalid(field + " is not supported; json, regex, choice, grammar and json_object are");
            }
        });
    }

    private void json(String field, JsonNode schema) {
        JsonNode read = schema;
        if (schema.isTextual()) {
            try {
                read = new ObjectMapper().readTree(schema.asText());
            } catch (JsonProcessingException notJson) {
                throw invalid(field + " is a text that is not JSON: " + notJson.getOriginalMessage());
            }
        }
        JsonNode document = read;
        add("schema " + document, () -> SchemaGrammar.of(field, document));
    }

    private void regex(String field, JsonNode pattern) {
        add("regex " + text(field, pattern), () -> Grammar.regex(pattern.asText()));
    }

    private void grammar(String field, JsonNode grammar) {
        add("grammar " + text(field, grammar), () -> Grammar.gbnf(grammar.asText()));
    }

    private void choice(String field, JsonNode choices) {
        List<String> texts = new ArrayList<>();
        choices.forEach(each -> texts.add(text(field, each)));
        if (texts.isEmpty()) {
            throw invalid(field + " must be a list of texts with at least one");
        }
        add("choice " + choices, () -> SchemaGrammar.texts(field, texts));
    }

    private static String text(String field, JsonNode value) {
        if (!value.isTextual() || value.asText().isEmpty()) {
            throw invalid(field + " is " + value + "; it must be a text that is not empty");
        }
        return value.asText();
    }

    private void add(String key, Supplier<Grammar> grammar) {
        found.add(Optional.of(grammars.of(key, grammar)));
    }
}
