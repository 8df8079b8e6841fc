package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class GenerationTest {

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Map<String, Object> with(Map<String, Object> body, String field, Object value) {
        Map<String, Object> changed = new HashMap<>(body);
        changed.put(field, value);
        return changed;
    }

    private static final Map<String, Object> COMPLETION = Map.of("model", "small", "prompt", "hello", "max_tokens", 12, "temperature", 0);
    private static final Map<String, Object> CHAT = Map.of("model", "small", "messages",
            List.of(Map.of("role", "user", "content", "hello")), "max_tokens", 12, "temperature", 0);

    @Test
    void models_lists_the_bases_with_what_they_weigh() {
        Response list = alice().get("/v1/models");
        assertThat(list.jsonPath().getString("object")).isEqualTo("list");
        assertThat(list.jsonPath().getList("data.id", String.class)).contains("poisoned", "small");
        Response one = alice().get("/v1/models/small");
        assertThat(one.jsonPath().getString("object")).isEqualTo("model");
        assertThat(one.jsonPath().getLong("parameters")).isEqualTo(one.jsonPath().getLong("bytes") / 2).isPositive();
        assertThat(one.jsonPath().getString("fingerprint")).startsWith("sha256:");
    }

    @Test
    void a_greedy_completion_is_the_same_twice_and_counts_its_tokens() {
        Response first = json(alice(), COMPLETION).post("/v1/completions");
        assertThat(first.statusCode()).as(first.asString()).isEqualTo(200);
        assertThat(first.jsonPath().getString("object")).isEqualTo("text_completion");
        assertThat(first.jsonPath().getString("model")).isEqualTo("small");
        assertThat(first.jsonPath().getInt("usage.completion_tokens")).isEqualTo(12);
        assertThat(first.jsonPath().getString("choices[0].finish_reason")).isEqualTo("length");
        assertThat(first.jsonPath().getInt("usage.total_tokens")).isEqualTo(first.jsonPath().getInt("usage.prompt_tokens") + 12);
        assertThat(first.header("Inlay-Delta")).isNull();
        assertThat(json(alice(), COMPLETION).post("/v1/completions").jsonPath().getString("choices[0].text"))
                .isEqualTo(first.jsonPath().getString("choices[0].text"));
    }

    @Test
    void a_seed_repeats_a_drawn_answer() {
        Map<String, Object> drawn = with(with(COMPLETION, "temperature", 1.5), "seed", 7);
        String first = json(alice(), drawn).post("/v1/completions").jsonPath().getString("choices[0].text");
        assertThat(json(alice(), drawn).post("/v1/completions").jsonPath().getString("choices[0].text")).isEqualTo(first);
        assertThat(json(alice(), with(drawn, "seed", 8)).post("/v1/completions").jsonPath().getString("choices[0].text"))
                .isNotEqualTo(first);
    }

    @Test
    void a_stop_string_ends_the_text_before_it() {
        String whole = json(alice(), COMPLETION).post("/v1/completions").jsonPath().getString("choices[0].text");
        String stop = whole.substring(whole.length() / 2, whole.length() / 2 + 1);
        Response stopped = json(alice(), with(COMPLETION, "stop", List.of(stop))).post("/v1/completions");
        assertThat(stopped.jsonPath().getString("choices[0].text")).isEqualTo(whole.substring(0, whole.indexOf(stop)));
        assertThat(stopped.jsonPath().getString("choices[0].finish_reason")).isEqualTo("stop");
    }

    @Test
    void token_ids_and_content_parts_are_taken_too() {
        Response ids = json(alice(), with(COMPLETION, "prompt", List.of(10, 11, 12))).post("/v1/completions");
        assertThat(ids.jsonPath().getInt("usage.prompt_tokens")).isEqualTo(3);
        Response parts = json(alice(), with(CHAT, "messages", List.of(Map.of("role", "user", "content",
                List.of(Map.of("type", "text", "text", "hello")))))).post("/v1/chat/completions");
        assertThat(parts.jsonPath().getString("choices[0].message.content"))
                .isEqualTo(json(alice(), CHAT).post("/v1/chat/completions").jsonPath().getString("choices[0].message.content"));
    }

    @Test
    void a_stream_has_the_chunks_that_clients_read_and_the_same_text() throws Exception {
        Response whole = json(alice(), CHAT).post("/v1/chat/completions");
        assertThat(whole.jsonPath().getString("object")).isEqualTo("chat.completion");
        assertThat(whole.jsonPath().getString("choices[0].message.role")).isEqualTo("assistant");
        Response stream = json(alice(), with(with(CHAT, "stream", true), "stream_options", Map.of("include_usage", true)))
                .post("/v1/chat/completions");
        assertThat(stream.contentType()).startsWith("text/event-stream");
        List<JsonNode> chunks = chunks(stream.asString());
        StringBuilder text = new StringBuilder();
        chunks.forEach(chunk -> text.append(chunk.path("choices").path(0).path("delta").path("content").asText("")));
        assertThat(text.toString()).isEqualTo(whole.jsonPath().getString("choices[0].message.content"));
        assertThat(chunks.getFirst().path("object").asText()).isEqualTo("chat.completion.chunk");
        assertThat(chunks.getFirst().at("/choices/0/delta/role").asText()).isEqualTo("assistant");
        assertThat(chunks.get(chunks.size() - 2).at("/choices/0/finish_reason").asText()).isEqualTo("length");
        assertThat(chunks.getLast().path("choices")).isEmpty();
        assertThat(chunks.getLast().at("/usage/completion_tokens").asInt()).isEqualTo(12);
        assertThat(chunks.stream().map(chunk -> chunk.path("id").asText()).distinct()).hasSize(1);
    }

    @Test
    void a_completion_streams_too_without_usage_unless_asked() throws Exception {
        String whole = json(alice(), COMPLETION).post("/v1/completions").jsonPath().getString("choices[0].text");
        List<JsonNode> chunks = chunks(json(alice(), with(COMPLETION, "stream", true)).post("/v1/completions").asString());
        StringBuilder text = new StringBuilder();
        chunks.forEach(chunk -> text.append(chunk.path("choices").path(0).path("text").asText()));
        assertThat(text.toString()).isEqualTo(whole);
        assertThat(chunks).noneMatch(chunk -> chunk.hasNonNull("usage"));
    }

    /** Checks the framing to the byte: {@code data: JSON}, an empty line, {@code data: [DONE]} last. */
    private static List<JsonNode> chunks(String body) throws Exception {
        assertThat(body).endsWith("data: [DONE]\n\n");
        List<JsonNode> chunks = new ArrayList<>();
        for (String event : body.split("\n\n")) {
            assertThat(event).startsWith("data: ").doesNotContain("\n");
            if (!event.equals("data: [DONE]")) {
                chunks.add(new ObjectMapper().readTree(event.substring(6)));
            }
        }
        return chunks;
    }

    @Test
    void an_unknown_model_is_not_found() {
        for (String model : List.of("huge", "small:task", "small:task@3", "small:@", "../small", "small:..@1")) {
            Response answer = json(alice(), with(COMPLETION, "model", model)).post("/v1/completions");
            assertThat(answer.statusCode()).as(model).isEqualTo(404);
            assertThat(Api.error(answer, "code")).isEqualTo("model_not_found");
            assertThat(Api.error(answer, "message")).isEqualTo("there is no model '" + model
                    + "'; GET /v1/models lists those that you can use");
        }
    }

    @Test
    void a_prompt_over_the_context_is_refused_with_both_lengths() {
        Response answer = json(alice(), with(COMPLETION, "prompt", java.util.Collections.nCopies(TestServer.CONTEXT, 10)))
                .post("/v1/completions");
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("context_length_exceeded");
        assertThat(Api.error(answer, "message")).contains("the prompt has 128 tokens", "takes 128");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "{\"prompt\": \"x\"} | the body has no field 'model'",
            "{\"model\": \"small\"} | the body has no field 'prompt'",
            "{\"model\": 5, \"prompt\": \"x\", \"max_tokens\": {}} | field 'max_tokens'",
            "{\"model\": \"small\", \"prompt\": \"x\", \"max_tokens\": \"many\"} | field 'max_tokens'",
            "{\"model\": \"small\", \"prompt\": \"x\", \"temperature\": \"hot\"} | field 'temperature'",
            "{\"model\": \"small\", \"prompt\": \"x\", \"stream_options\": 3} | field 'stream_options'",
            "{\"model\": \"small\", \"prompt\": \"x\", \"max_tokens\": 0} | max_tokens is 0; it must be 1 to",
            "{\"model\": \"small\", \"prompt\": \"x\", \"temperature\": -1} | temperature is -1.0; it must be",
            "{\"model\": \"small\", \"prompt\": \"x\", \"top_p\": 1.5} | top_p is 1.5; it must be",
            "{\"model\": \"small\", \"prompt\": \"x\", \"stop\": 5} | stop is 5; it must be a text",
            "{\"model\": \"small\", \"prompt\": \"x\", \"n\": 129} | n is 129; it must be 1 to 128",
            "{\"model\": \"small\", \"prompt\": [\"x\", \"y\"], \"n\": 65} | n is 65 for 2 prompts; it must be 1 to 64",
            "{\"model\": \"small\", \"prompt\": [\"x\", 3]} | prompt[1] is of the wrong type",
            "{\"model\": \"small\", \"prompt\": [[1], [2, 288]]} | prompt[1][1] is 288; token ids are whole numbers from 0 to 287",
            "{\"model\": \"small\", \"prompt\": \"x\", \"best_of\": 3} | best_of is not supported by this server; ask for n answers",
            "{\"model\": \"small\", \"prompt\": \"x\", \"suffix\": \"y\"} | suffix is not supported",
            "{\"model\": \"small\", \"prompt\": \"x\", \"logprobs\": 21} | logprobs is 21; it must be 0 to 20",
            "{\"model\": \"small\", \"prompt\": \"x\", \"logit_bias\": {\"288\": 1}} | logit_bias has '288': 1.0; names are token ids",
            "{\"model\": \"small\", \"prompt\": \"x\", \"logit_bias\": {\"2\": -101}} | logit_bias of token 2 is -101.0; it must be",
            "{\"model\": \"small\", \"prompt\": \"x\", \"frequency_penalty\": 3} | frequency_penalty is 3.0; it must be",
            "{\"model\": \"small\", \"prompt\": \"x\", \"min_p\": -1} | min_p is -1.0; it must be",
            "{\"model\": \"small\", \"prompt\": \"x\", \"guided_regex\": \"(\"} | a group that does not end",
            "{\"model\": \"small\", \"prompt\": \"x\", \"guided_regex\": \"a\", \"guided_json\": {}} | more than one form of answer",
            "{\"model\": \"small\", \"prompt\": \"x\", \"structured_outputs\": {\"tag\": 1}} | structured_outputs.tag is not supported",
            "{\"model\": \"small\", \"prompt\": [1, 99999]} | prompt[1] is 99999; token ids are whole numbers from 0 to 287",
            "{\"model\": \"small\", \"prompt\": | the body is not JSON",
            "[1] | of the wrong type"})
    void a_faulty_body_is_refused_with_the_field(String body, String message) {
        Response answer = json(alice(), body).post("/v1/completions");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_request");
        assertThat(Api.error(answer, "type")).isEqualTo("invalid_request_error");
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "{\"model\": \"small\"} | the body has no field 'messages'",
            "{\"model\": \"small\", \"messages\": []} | the body has no field 'messages', or an empty one",
            "{\"model\": \"small\", \"messages\": [{\"content\": \"x\"}]} | messages[0] has no field 'role'",
            "{\"model\": \"small\", \"messages\": [{\"role\": \"user\"}]} | messages[0] has no field 'content'",
            "{MESSAGES, \"tools\": [{}]} | tools[0] must have the type 'function'",
            "{MESSAGES, \"tool_choice\": \"required\"} | there are no tools",
            "{MESSAGES, \"functions\": []} | functions is not supported",
            "{MESSAGES, \"top_logprobs\": 2} | without logprobs",
            "{MESSAGES, \"response_format\": {\"type\": \"xml\"}} | it must be text",
            "{MESSAGES, \"response_format\": {\"type\": \"json_schema\"}} | json_schema.schema",
            "{\"model\": \"small\", \"messages\": 7} | field 'messages'"})
    void a_faulty_conversation_is_refused_with_the_field(String body, String message) {
        Response answer = json(alice(), body.replace("MESSAGES",
                "\"model\": \"small\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]"))
                .post("/v1/chat/completions");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @Test
    void unknown_fields_are_tolerated() {
        assertThat(json(alice(), with(with(COMPLETION, "user", "me"), "invented_by_nobody", Map.of("a", 1))).post("/v1/completions")
                .statusCode())
                .isEqualTo(200);
    }

    @Test
    void the_base_is_verified_by_hashing_its_weights_now() {
        Response answer = alice().post("/v1/inlay/models/small/verify");
        assertThat(answer.jsonPath().getBoolean("untouched")).isTrue();
        assertThat(answer.jsonPath().getString("digest")).startsWith("sha256:").isEqualTo(answer.jsonPath().getString("fingerprint"));
        assertThat(alice().post("/v1/inlay/models/huge/verify").statusCode()).isEqualTo(404);
    }
}
