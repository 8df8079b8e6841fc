package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.http.StreamResponse;
import com.openai.errors.BadRequestException;
import com.openai.helpers.ChatCompletionAccumulator;
import com.openai.models.FunctionDefinition;
import com.openai.models.FunctionParameters;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionMessageFunctionToolCall;
import com.openai.models.chat.completions.ChatCompletionToolChoiceOption;
import com.openai.models.completions.Completion;
import com.openai.models.completions.CompletionChoice;
import com.openai.models.completions.CompletionCreateParams;
import com.openai.models.embeddings.CreateEmbeddingResponse;
import com.openai.models.embeddings.EmbeddingCreateParams;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.net.URI;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** OpenAI's own Java client: several answers, log-probabilities, forms, tools, embeddings. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class OpenAiClientAnswersTest {

    @TestHTTPResource("/v1")
    URI address;

    private OpenAIClient client;

    @BeforeEach
    void connect() {
        Api.awaitReady();
        client = OpenAIOkHttpClient.builder().baseUrl(address.toString()).apiKey(TestServer.ALICE).maxRetries(0).build();
    }

    @AfterEach
    void disconnect() {
        client.close();
    }

    private static ChatCompletionCreateParams.Builder hello() {
        return ChatCompletionCreateParams.builder().model("small").addUserMessage("hello").maxCompletionTokens(60).temperature(1.0).seed(4);
    }

    /** From which the client makes a schema, and which it makes of the answer. */
    public static class Order {
        public String item;
        public long count;
        public List<Boolean> flags;
    }

    @Test
    void several_answers_come_with_their_log_probabilities() {
        ChatCompletion answer = client.chat().completions().create(hello().n(3).logprobs(true).topLogprobs(2).maxCompletionTokens(5)
                .build());
        assertThat(answer.choices()).hasSize(3);
        assertThat(answer.validate()).isNotNull();
        answer.choices().forEach(choice -> assertThat(choice.logprobs().orElseThrow().content().orElseThrow())
                .allSatisfy(token -> assertThat(token.topLogprobs()).hasSize(2)));
        Completion completion = client.completions().create(CompletionCreateParams.builder().model("small")
                .promptOfArrayOfStrings(List.of("hello", "sky")).logprobs(2).echo(true).maxTokens(4).build());
        assertThat(completion.choices()).hasSize(2);
        CompletionChoice.Logprobs logprobs = completion.choices().getFirst().logprobs().orElseThrow();
        assertThat(logprobs.tokens().orElseThrow()).hasSameSizeAs(logprobs.textOffset().orElseThrow());
    }

    @Test
    void an_answer_of_a_class_is_read_into_it() {
        var answer = client.chat().completions().create(hello().responseFormat(Order.class).build());
        Order order = answer.choices().getFirst().message().content().orElseThrow();
        assertThat(order.item).isNotNull();
        assertThat(order.flags).isNotNull();
    }

    @Test
    void a_tool_is_called_whole_and_in_a_stream() {
        ChatCompletionCreateParams params = hello().addFunctionTool(FunctionDefinition.builder().name("order").description("Orders.")
                .parameters(FunctionParameters.builder().putAdditionalProperty("type", JsonValue.from("object"))
                        .putAdditionalProperty("properties", JsonValue.from(Map.of("count", Map.of("type", "integer"))))
                        .putAdditionalProperty("required", JsonValue.from(List.of("count"))).build()).build())
                .toolChoice(ChatCompletionToolChoiceOption.Auto.REQUIRED).build();
        ChatCompletion whole = client.chat().completions().create(params);
        assertThat(whole.validate().choices().getFirst().finishReason()).isEqualTo(ChatCompletion.Choice.FinishReason.TOOL_CALLS);
        ChatCompletionMessageFunctionToolCall call = whole.choices().getFirst().message().toolCalls().orElseThrow().getFirst().asFunction();
        assertThat(call.function().name()).isEqualTo("order");
        assertThat(call.function().arguments()).matches("\\{\\s*\"count\": ?-?\\d+\\s*}");
        ChatCompletionAccumulator accumulator = ChatCompletionAccumulator.create();
        try (StreamResponse<ChatCompletionChunk> chunks = client.chat().completions().createStreaming(params)) {
            chunks.stream().peek(accumulator::accumulate).forEach(ChatCompletionChunk::validate);
        }
        ChatCompletionMessageFunctionToolCall streamed = accumulator.chatCompletion().choices().getFirst().message().toolCalls()
                .orElseThrow()
                .getFirst().asFunction();
        assertThat(streamed.function().arguments()).isEqualTo(call.function().arguments());
    }

    @Test
    void embeddings_are_read_from_numbers_and_from_base64() {
        CreateEmbeddingResponse numbers = client.embeddings().create(EmbeddingCreateParams.builder().model("small").input("hello")
                .encodingFormat(EmbeddingCreateParams.EncodingFormat.FLOAT).build());
        CreateEmbeddingResponse coded = client.embeddings().create(EmbeddingCreateParams.builder().model("small").input("hello")
                .encodingFormat(EmbeddingCreateParams.EncodingFormat.BASE64).build());
        List<Float> vector = numbers.data().getFirst().embedding();
        assertThat(vector.stream().mapToDouble(each -> each * each).sum()).isCloseTo(1, within(1e-5));
        assertThat(coded.data().getFirst().embedding()).isEqualTo(vector);
        assertThat(numbers.usage().totalTokens()).isPositive();
    }

    @Test
    void a_refusal_says_what_is_not_supported() {
        assertThatThrownBy(() -> client.chat().completions().create(hello().putAdditionalBodyProperty("response_format",
                JsonValue.from(Map.of("type", "json_schema", "json_schema", Map.of("name", "x", "schema", Map.of("not", Map.of())))))
                        .build()))
                .isInstanceOf(BadRequestException.class).hasMessageContaining("not is not supported");
    }
}
