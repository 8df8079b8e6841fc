package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.exception.AuthenticationException;
import dev.langchain4j.exception.InvalidRequestException;
import dev.langchain4j.exception.ModelNotFoundException;
import dev.langchain4j.model.chat.Capability;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import dev.langchain4j.model.chat.request.ToolChoice;
import dev.langchain4j.model.chat.request.json.JsonArraySchema;
import dev.langchain4j.model.chat.request.json.JsonIntegerSchema;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.model.chat.request.json.JsonSchema;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import dev.langchain4j.model.output.FinishReason;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.IOException;
import java.net.URI;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** LangChain4j's OpenAI client, as it comes, against the server. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class LangChain4jTest {

    @TestHTTPResource("/v1")
    URI address;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private OpenAiChatModel.OpenAiChatModelBuilder model(String name, String key) {
        return OpenAiChatModel.builder().baseUrl(address.toString()).apiKey(key).modelName(name).temperature(0.0).maxRetries(0)
                .maxCompletionTokens(60);
    }

    private static ToolSpecification orderTool() {
        return ToolSpecification.builder().name("order").description("Orders.")
                .parameters(JsonObjectSchema.builder().addIntegerProperty("count")
                .addEnumProperty("size", List.of("S", "L")).required("count", "size").build()).build();
    }

    @Test
    void a_chat_is_answered_whole_and_in_a_stream_with_the_same_text() throws Exception {
        ChatRequest request = ChatRequest.builder().messages(UserMessage.from("hello")).build();
        ChatResponse whole = model("small", TestServer.ALICE).maxCompletionTokens(10).build().chat(request);
        assertThat(whole.finishReason()).isEqualTo(FinishReason.LENGTH);
        assertThat(whole.tokenUsage().outputTokenCount()).isEqualTo(10);
        StringBuilder streamed = new StringBuilder();
        CompletableFuture<ChatResponse> end = new CompletableFuture<>();
        OpenAiStreamingChatModel.builder().baseUrl(address.toString()).apiKey(TestServer.ALICE).modelName("small").temperature(0.0)
                .maxCompletionTokens(10).build().chat(request, new StreamingChatResponseHandler() {
                    @Override
                    public void onPartialResponse(String text) {
                        streamed.append(text);
                    }

                    @Override
                    public void onCompleteResponse(ChatResponse response) {
                        end.complete(response);
                    }

                    @Override
                    public void onError(Throwable failure) {
                        end.completeExceptionally(failure);
                    }
                });
        ChatResponse complete = end.get(1, TimeUnit.MINUTES);
        assertThat(streamed.toString()).isEqualTo(whole.aiMessage().text()).isEqualTo(complete.aiMessage().text());
        assertThat(complete.tokenUsage()).isEqualTo(whole.tokenUsage());
    }

    @Test
    void an_answer_follows_its_schema() throws IOException {
        ResponseFormat format = ResponseFormat.builder().type(ResponseFormatType.JSON).jsonSchema(JsonSchema.builder().name("numbers")
                .rootElement(JsonObjectSchema.builder().addProperty("numbers", JsonArraySchema.builder().items(new JsonIntegerSchema())
                        .build())
                        .required("numbers").build()).build()).build();
        ChatResponse answer = model("small", TestServer.ALICE).supportedCapabilities(Capability.RESPONSE_FORMAT_JSON_SCHEMA)
                .strictJsonSchema(true).build().chat(ChatRequest.builder().messages(UserMessage.from("hello")).responseFormat(format)
                        .build());
        JsonNode value = new ObjectMapper().readTree(answer.aiMessage().text());
        assertThat(value.get("numbers").isArray()).isTrue();
        value.get("numbers").forEach(each -> assertThat(each.isIntegralNumber()).isTrue());
    }

    @Test
    void a_tool_is_called_and_its_result_is_taken() throws IOException {
        OpenAiChatModel model = model("small", TestServer.ALICE).build();
        ChatResponse answer = model.chat(ChatRequest.builder().messages(UserMessage.from("hello")).toolSpecifications(orderTool())
                .toolChoice(ToolChoice.REQUIRED).build());
        assertThat(answer.finishReason()).isEqualTo(FinishReason.TOOL_EXECUTION);
        ToolExecutionRequest call = answer.aiMessage().toolExecutionRequests().getFirst();
        assertThat(call.name()).isEqualTo("order");
        JsonNode arguments = new ObjectMapper().readTree(call.arguments());
        assertThat(arguments.get("count").isIntegralNumber()).isTrue();
        assertThat(arguments.get("size").asText()).isIn("S", "L");
        ChatResponse next = model("inlay-tiny", TestServer.ALICE).maxCompletionTokens(5).build().chat(ChatRequest.builder()
                .messages(UserMessage.from("hello"), AiMessage.from(call), ToolExecutionResultMessage.from(call, "done"))
                .toolSpecifications(orderTool()).build());
        assertThat(next.tokenUsage().outputTokenCount()).isPositive();
    }

    @Test
    void embeddings_are_read() {
        List<Embedding> embeddings = OpenAiEmbeddingModel.builder().baseUrl(address.toString()).apiKey(TestServer.ALICE).modelName("small")
                .maxRetries(0).build().embedAll(List.of(TextSegment.from("hello"),
                        TextSegment.from("sky"))).content();
        assertThat(embeddings).hasSize(2);
        assertThat(embeddings.getFirst().vector()).isNotEqualTo(embeddings.get(1).vector());
    }

    @Test
    void refusals_become_the_clients_own_exceptions() {
        assertThatThrownBy(() -> model("huge", TestServer.ALICE).build().chat("hello")).isInstanceOf(ModelNotFoundException.class)
                .hasMessageContaining("there is no model 'huge'");
        assertThatThrownBy(() -> model("small", "not-a-key").build().chat("hello")).isInstanceOf(AuthenticationException.class);
        assertThatThrownBy(() -> model("small", TestServer.ALICE).temperature(-1.0).build().chat("hello"))
                .isInstanceOf(InvalidRequestException.class).hasMessageContaining("temperature is -1.0");
    }
}
