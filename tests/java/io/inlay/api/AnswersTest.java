package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What completions and chats can be asked for beyond one plain answer. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class AnswersTest {

    private static final List<Map<String, String>> HELLO = List.of(Map.of("role", "user", "content", "hello"));

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Map<String, Object> completion(Object... fields) {
        return body(new HashMap<>(Map.of("model", "small", "prompt", "hello", "max_tokens", 12, "temperature", 0)), fields);
    }

    private static Map<String, Object> chat(Object... fields) {
        return body(new HashMap<>(Map.of("model", "small", "messages", HELLO, "max_tokens", 12, "temperature", 0)), fields);
    }

    private static Map<String, Object> body(Map<String, Object> body, Object... fields) {
        for (int i = 0; i < fields.length; i += 2) {
            body.put((String) fields[i], fields[i + 1]);
        }
        return body;
    }

    private static JsonNode post(String path, Map<String, Object> body) throws IOException {
        var answer = json(alice(), body).post("/v1/" + path);
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(200);
        return new ObjectMapper().readTree(answer.asString());
    }

    private static List<JsonNode> stream(String path, Map<String, Object> body) throws IOException {
        List<JsonNode> chunks = new ArrayList<>();
        for (String event : json(alice(), body(body, "stream", true)).post("/v1/" + path).asString().split("\n\n")) {
            if (!event.equals("data: [DONE]")) {
                chunks.add(new ObjectMapper().readTree(event.substring(6)));
            }
        }
        return chunks;
    }

    @Test
    void n_answers_are_drawn_apart_the_first_as_if_alone_and_repeat_with_the_seed() throws IOException {
        JsonNode four = post("completions", completion("n", 4, "temperature", 1, "seed", 9));
        Set<String> texts = new HashSet<>();
        for (int i = 0; i < 4; i++) {
            assertThat(four.at("/choices/" + i + "/index").asInt()).isEqualTo(i);
            texts.add(four.at("/choices/" + i + "/text").asText());
        }
        assertThat(texts).hasSize(4);
        assertThat(post("completions", completion("n", 4, "temperature", 1, "seed", 9)).get("choices")).isEqualTo(four.get("choices"));
        JsonNode one = post("completions", completion("temperature", 1, "seed", 9));
        assertThat(one.at("/choices/0")).isEqualTo(four.at("/choices/0"));
        assertThat(four.at("/usage/prompt_tokens")).isEqualTo(one.at("/usage/prompt_tokens"));
        assertThat(four.at("/usage/completion_tokens").asInt()).isEqualTo(48);
    }

    @Test
    void several_prompts_are_answered_in_order_each_as_if_alone() throws IOException {
        JsonNode both = post("completions", completion("prompt", List.of("hello", "sky"), "n", 2));
        for (int i = 0; i < 4; i++) {
            JsonNode alone = post("completions", completion("prompt", i < 2 ? "hello" : "sky"));
            assertThat(both.at("/choices/" + i + "/text")).isEqualTo(alone.at("/choices/0/text"));
        }
        JsonNode ids = post("completions", completion("prompt", List.of(List.of(10, 11), List.of(12))));
        assertThat(ids.get("choices")).hasSize(2);
        assertThat(ids.at("/usage/prompt_tokens").asInt()).isEqualTo(3);
        assertThat(ids.at("/choices/1/text")).isEqualTo(post("completions", completion("prompt", List.of(12))).at("/choices/0/text"));
    }

    @Test
    void a_stream_of_several_answers_has_each_whole_and_the_usage_of_all_last() throws IOException {
        JsonNode whole = post("chat/completions", chat("n", 3, "temperature", 1, "seed", 3));
        List<JsonNode> chunks = stream("chat/completions", chat("n", 3, "temperature", 1, "seed", 3, "stream_options",
                Map.of("include_usage", true)));
        Map<Integer, StringBuilder> texts = new HashMap<>();
        Map<Integer, String> reasons = new HashMap<>();
        for (JsonNode chunk : chunks) {
            for (JsonNode choice : chunk.get("choices")) {
                texts.computeIfAbsent(choice.get("index").asInt(), _ -> new StringBuilder()).append(choice.at("/delta/content").asText(""));
                if (choice.hasNonNull("finish_reason")) {
                    reasons.put(choice.get("index").asInt(), choice.get("finish_reason").asText());
                }
            }
        }
        for (int i = 0; i < 3; i++) {
            assertThat(texts.get(i).toString()).isEqualTo(whole.at("/choices/" + i + "/message/content").asText());
            assertThat(reasons.get(i)).isEqualTo(whole.at("/choices/" + i + "/finish_reason").asText());
        }
        assertThat(chunks.getLast().get("usage")).isEqualTo(whole.get("usage"));
    }

    @Test
    void logprobs_of_a_completion_have_openais_shape_and_tell_of_the_token_that_was_likeliest() throws IOException {
        JsonNode answer = post("completions", completion("logprobs", 3));
        JsonNode logprobs = answer.at("/choices/0/logprobs");
        assertThat(logprobs.get("tokens")).hasSize(12);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 12; i++) {
            double chosen = logprobs.at("/token_logprobs/" + i).asDouble();
            assertThat(logprobs.at("/text_offset/" + i).asInt()).isEqualTo(text.length());
            text.append(logprobs.at("/tokens/" + i).asText());
            JsonNode likeliest = logprobs.at("/top_logprobs/" + i);
            assertThat(likeliest.size()).isBetween(1, 3);
            assertThat(likeliest.get(logprobs.at("/tokens/" + i).asText()).asDouble()).isCloseTo(chosen, within(1e-9));
            likeliest.forEach(each -> assertThat(each.asDouble()).isLessThanOrEqualTo(chosen));
        }
        assertThat(post("completions", completion()).at("/choices/0/logprobs").isNull()).isTrue();
    }

    @Test
    void logprobs_of_a_chat_have_openais_shape_whole_and_in_a_stream() throws IOException {
        JsonNode whole = post("chat/completions", chat("logprobs", true, "top_logprobs", 2));
        JsonNode content = whole.at("/choices/0/logprobs/content");
        assertThat(content).hasSize(12);
        for (JsonNode token : content) {
            assertThat(token.get("top_logprobs")).hasSize(2);
            assertThat(token.get("bytes").isArray()).isTrue();
            assertThat(token.at("/top_logprobs/0/logprob").asDouble()).isEqualTo(token.get("logprob").asDouble()).isLessThanOrEqualTo(0);
        }
        List<JsonNode> streamed = new ArrayList<>();
        stream("chat/completions", chat("logprobs", true, "top_logprobs", 2))
                .forEach(chunk -> chunk.at("/choices/0/logprobs/content").forEach(streamed::add));
        assertThat(streamed).containsExactlyElementsOf(content);
    }

    @Test
    void echo_gives_the_prompt_back_with_the_log_probabilities_of_its_tokens() throws IOException {
        JsonNode plain = post("completions", completion());
        JsonNode answer = post("completions", completion("echo", true, "logprobs", 1));
        String text = "hello" + plain.at("/choices/0/text").asText();
        assertThat(answer.at("/choices/0/text").asText()).isEqualTo(text);
        JsonNode logprobs = answer.at("/choices/0/logprobs");
        int prompt = plain.at("/usage/prompt_tokens").asInt();
        assertThat(logprobs.get("tokens")).hasSize(prompt + 12);
        assertThat(logprobs.at("/token_logprobs/0").isNull()).isTrue();
        assertThat(logprobs.at("/token_logprobs/1").asDouble()).isNegative();
        StringBuilder streamed = new StringBuilder();
        stream("completions", completion("echo", true)).forEach(chunk -> streamed.append(chunk.at("/choices/0/text").asText()));
        assertThat(streamed.toString()).isEqualTo(text);
        // The same token behind the same text has the same score, read or drawn.
        JsonNode drawn = post("completions", completion("logprobs", 1, "max_tokens", 1, "prompt", List.of(10, 11, 12)));
        int token = post("tokenize", Map.of("model", "small", "prompt", drawn.at("/choices/0/text").asText(), "add_special_tokens", false))
                .at("/tokens/0").asInt();
        JsonNode read = post("completions", completion("logprobs", 1, "echo", true, "max_tokens", 1, "prompt", List.of(10, 11, 12, token)));
        assertThat(read.at("/choices/0/logprobs/token_logprobs/3").asDouble())
                .isCloseTo(drawn.at("/choices/0/logprobs/token_logprobs/0").asDouble(), within(0.05));
    }

    @Test
    void a_bias_forces_and_forbids_and_penalties_keep_from_repeating() throws IOException {
        JsonNode forced = post("completions", completion("logit_bias", Map.of("70", 100), "logprobs", 0));
        assertThat(new HashSet<>(new ObjectMapper().convertValue(forced.at("/choices/0/logprobs/tokens"), List.class))).hasSize(1);
        JsonNode apart = post("completions", completion("logit_bias", Map.of("70", 100, "71", 100), "presence_penalty", 2,
                "frequency_penalty", 2, "logprobs", 0, "max_tokens", 40));
        assertThat(new HashSet<>(new ObjectMapper().convertValue(apart.at("/choices/0/logprobs/tokens"), List.class))).hasSize(2);
    }

    @Test
    void tokens_come_from_texts_and_conversations_and_go_back() throws IOException {
        JsonNode tokens = post("tokenize", Map.of("model", "small", "prompt", "héllo", "return_token_strs", true));
        assertThat(tokens.get("count").asInt()).isEqualTo(tokens.get("tokens").size());
        assertThat(tokens.get("token_strs")).hasSize(tokens.get("count").asInt());
        assertThat(tokens.get("max_model_len").asInt()).isEqualTo(TestServer.CONTEXT);
        assertThat(post("detokenize", Map.of("model", "small", "tokens", tokens.get("tokens"))).get("prompt").asText()).isEqualTo("héllo");
        JsonNode chat = post("tokenize", Map.of("model", "small", "messages", HELLO));
        assertThat(chat.get("count").asInt()).isEqualTo(post("chat/completions", chat()).at("/usage/prompt_tokens").asInt());
        assertThat(json(alice(), Map.of("model", "small")).post("/v1/tokenize").statusCode()).isEqualTo(400);
        assertThat(Api.error(json(alice(), Map.of("model", "small", "tokens", List.of(1, -4))).post("/v1/detokenize"), "message"))
                .contains("tokens[1] is -4");
    }

    @Test
    void embeddings_are_of_length_one_the_same_as_numbers_and_in_base64_and_of_texts_or_tokens() throws IOException {
        JsonNode answer = post("embeddings", Map.of("model", "small", "input", List.of("hello", "sky")));
        assertThat(answer.get("data")).hasSize(2);
        double squares = 0;
        for (JsonNode value : answer.at("/data/1/embedding")) {
            squares += value.asDouble() * value.asDouble();
        }
        assertThat(squares).isCloseTo(1, within(1e-5));
        assertThat(answer.at("/data/0/embedding")).isNotEqualTo(answer.at("/data/1/embedding"));
        JsonNode tokens = post("tokenize", Map.of("model", "small", "prompt", "sky")).get("tokens");
        JsonNode coded = post("embeddings", Map.of("model", "small", "input", tokens, "encoding_format", "base64"));
        FloatBuffer floats = ByteBuffer.wrap(Base64.getDecoder().decode(coded.at("/data/0/embedding").asText()))
                .order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        for (int i = 0; i < floats.capacity(); i++) {
            assertThat((double) floats.get(i)).isCloseTo(answer.at("/data/1/embedding/" + i).asDouble(), within(1e-7));
        }
        assertThat(coded.at("/usage/prompt_tokens").asInt()).isEqualTo(tokens.size());
        assertThat(json(alice(), Map.of("model", "poisoned", "input", "x")).post("/v1/embeddings").statusCode()).isEqualTo(500);
        for (Map<String, Object> faulty : List.<Map<String, Object>>of(Map.of("model", "small"),
                Map.of("model", "small", "input", List.of()),
                Map.of("model", "small", "input", "x", "dimensions", 3),
                Map.of("model", "small", "input", "x", "encoding_format", "int8"))) {
            assertThat(json(alice(), faulty).post("/v1/embeddings").statusCode()).as("%s", faulty).isEqualTo(400);
        }
    }
}
