package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Answers with a form, and calls of tools, of models that know neither: whatever they draw must be right. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class StructuredAnswersTest {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String SCHEMA = """
            {"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "count": {"type": "integer", "minimum": 0, "maximum": 99},
             "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 3}}, "required": ["kind", "count"],
             "additionalProperties": false}""";
    private static final String TOOLS = """
            [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"days":
             {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["days"], "additionalProperties": false}}},
             {"type": "function", "function": {"name": "now"}}]""";

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static JsonNode answer(String model, Map<String, Object> fields) throws IOException {
        Map<String, Object> body = new HashMap<>(Map.of("model", model, "messages", List.of(Map.of("role", "user", "content", "x")),
                "temperature", 1.3));
        body.putAll(fields);
        var answer = json(alice(), body).post("/v1/chat/completions");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(200);
        return JSON.readTree(answer.asString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"small", "inlay-tiny"})
    void every_answer_is_valid_by_the_schema(String model) throws IOException {
        JsonSchema validator = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(SCHEMA);
        Set<String> distinct = new HashSet<>();
        for (int seed = 0; seed < 8; seed++) {
            JsonNode all = answer(model, Map.of("n", 13, "seed", seed, "max_tokens", 60, "response_format", Map.of("type", "json_schema",
                    "json_schema", Map.of("name", "test", "strict", true, "schema", JSON.readTree(SCHEMA)))));
            for (JsonNode choice : all.get("choices")) {
                String text = choice.at("/message/content").asText();
                assertThat(validator.validate(JSON.readTree(text))).as(text).isEmpty();
                assertThat(choice.get("finish_reason").asText()).isEqualTo("stop");
                distinct.add(text);
            }
        }
        assertThat(distinct).hasSizeGreaterThan(30);
    }

    @Test
    void json_objects_regular_expressions_grammars_and_choices_are_kept_to() throws IOException {
        JsonNode objects = answer("small", Map.of("n", 10, "max_tokens", 50, "response_format", Map.of("type", "json_object")));
        for (JsonNode choice : objects.get("choices")) {
            assertThat(JSON.readTree(choice.at("/message/content").asText()).isObject()).isTrue();
        }
        for (Map<String, Object> form : List.<Map<String, Object>>of(
                Map.of("response_format", Map.of("type", "regex", "pattern", "[a-c]{3}-\\d+")),
                Map.of("structured_outputs", Map.of("regex", "[a-c]{3}-\\d+")), Map.of("guided_regex", "[a-c]{3}-\\d+"),
                Map.of("response_format", Map.of("type", "grammar", "grammar", "root ::= [a-c]{3} \"-\" [0-9]+")),
                Map.of("guided_grammar", "root ::= [a-c]{3} \"-\" [0-9]+"),
                Map.of("structured_outputs", Map.of("choice", List.of("aaa-1", "bbb-22"))), Map.of("guided_choice", List.of("abc-1")))) {
            Map<String, Object> fields = new HashMap<>(form);
            fields.putAll(Map.of("n", 5, "max_tokens", 20));
            for (JsonNode choice : answer("small", fields).get("choices")) {
                assertThat(choice.at("/message/content").asText()).as("%s", form).matches("[a-c]{3}-[0-9]+");
            }
        }
        var completion = json(alice(), Map.of("model", "small", "prompt", "x", "guided_regex", "yes|no")).post("/v1/completions");
        assertThat(completion.jsonPath().getString("choices[0].text")).isIn("yes", "no");
    }

    @Test
    void log_probabilities_are_among_what_the_form_allows() throws IOException {
        JsonNode answer = answer("small", Map.of("guided_choice", List.of("a", "b"), "logprobs", true, "top_logprobs", 5));
        JsonNode likeliest = answer.at("/choices/0/logprobs/content/0/top_logprobs");
        assertThat(likeliest).hasSize(2);
        assertThat(Math.exp(likeliest.at("/0/logprob").asDouble()) + Math.exp(likeliest.at("/1/logprob").asDouble()))
                .isCloseTo(1, within(1e-6));
    }

    @ParameterizedTest
    @ValueSource(strings = {"small", "inlay-tiny"})
    void a_call_that_is_required_is_one_by_the_functions_schema(String model) throws IOException {
        Set<String> called = new HashSet<>();
        for (int seed = 0; seed < 8; seed++) {
            JsonNode answer = answer(model, Map.of("n", 4, "seed", seed, "max_tokens", 70, "tool_choice", "required", "tools",
                    JSON.readTree(TOOLS)));
            for (JsonNode choice : answer.get("choices")) {
                assertThat(choice.get("finish_reason").asText()).isEqualTo("tool_calls");
                assertThat(choice.at("/message/content").isNull()).isTrue();
                assertThat(choice.at("/message/tool_calls")).hasSize(1);
                JsonNode call = choice.at("/message/tool_calls/0");
                assertThat(call.get("type").asText()).isEqualTo("function");
                assertThat(call.get("id").asText()).startsWith("call_");
                JsonNode arguments = JSON.readTree(call.at("/function/arguments").asText());
                String name = call.at("/function/name").asText();
                assertThat(name.equals("now") ? arguments.isEmpty() : arguments.get("days").asInt() >= 1 && arguments.size() == 1)
                        .as("%s", call).isTrue();
                called.add(name);
            }
        }
        assertThat(called).isNotEmpty();
        JsonNode named = answer(model, Map.of("max_tokens", 70, "tools", JSON.readTree(TOOLS), "tool_choice",
                Map.of("type", "function", "function", Map.of("name", "now"))));
        assertThat(named.at("/choices/0/message/tool_calls/0/function/name").asText()).isEqualTo("now");
    }

    @Test
    void a_tools_answer_and_the_call_before_it_are_taken() throws IOException {
        List<Map<String, Object>> messages = List.of(Map.of("role", "user", "content", "time?"),
                Map.of("role", "assistant", "tool_calls", List.of(Map.of("id", "call_1", "type", "function", "function",
                        Map.of("name", "now", "arguments", "{}")))),
                Map.of("role", "tool", "tool_call_id", "call_1", "content", "noon"));
        JsonNode answer = answer("small", Map.of("messages", messages, "tools", JSON.readTree(TOOLS), "max_tokens", 5));
        assertThat(answer.at("/choices/0/message/role").asText()).isEqualTo("assistant");
        assertThat(answer.at("/usage/completion_tokens").asInt()).isPositive();
    }

    @Test
    void forms_and_tools_that_are_wrong_are_refused_with_the_place() throws IOException {
        Map<String, Map<String, Object>> faulty = Map.of(
                "response_format's schema at #/properties/a: not is not supported", Map.of("response_format", Map.of("type", "json_schema",
                        "json_schema", Map.of("schema", Map.of("properties", Map.of("a", Map.of("not", Map.of())))))),
                "; it must be none, auto, required, or a function that is one of tools", Map.of("tools",
                        JSON.readTree(TOOLS), "tool_choice", Map.of("type", "function", "function", Map.of("name", "f"))),
                "are given together", Map.of("tools", JSON.readTree(TOOLS), "guided_regex", "x"),
                "messages[0].tool_calls[0].function.arguments is not JSON",
                Map.of("messages", List.of(Map.of("role", "assistant", "tool_calls",
                        List.of(Map.of("id", "1", "function", Map.of("name", "f", "arguments", "{")))))));
        for (Map.Entry<String, Map<String, Object>> each : faulty.entrySet()) {
            Map<String, Object> body = new HashMap<>(Map.of("model", "small", "messages", List.of(Map.of("role", "user", "content", "x"))));
            body.putAll(each.getValue());
            var refusal = json(alice(), body).post("/v1/chat/completions");
            assertThat(refusal.statusCode()).isEqualTo(400);
            assertThat(Api.error(refusal, "message")).contains(each.getKey());
        }
    }
}
