package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.core.MultipartField;
import com.openai.core.http.StreamResponse;
import com.openai.errors.BadRequestException;
import com.openai.errors.NotFoundException;
import com.openai.errors.UnauthorizedException;
import com.openai.models.chat.completions.ChatCompletion;
import com.openai.models.chat.completions.ChatCompletionChunk;
import com.openai.models.chat.completions.ChatCompletionCreateParams;
import com.openai.models.chat.completions.ChatCompletionStreamOptions;
import com.openai.models.completions.Completion;
import com.openai.models.completions.CompletionCreateParams;
import com.openai.models.embeddings.EmbeddingCreateParams;
import com.openai.models.files.FileCreateParams;
import com.openai.models.files.FileObject;
import com.openai.models.files.FilePurpose;
import com.openai.models.finetuning.jobs.FineTuningJob;
import com.openai.models.finetuning.jobs.JobCreateParams;
import com.openai.models.finetuning.jobs.JobListEventsParams;
import com.openai.models.models.Model;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** OpenAI's own Java client, as it comes, against the server. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class OpenAiClientTest {

    @TestHTTPResource("/v1")
    URI address;

    private OpenAIClient client;

    @BeforeEach
    void connect() {
        Api.awaitReady();
        client = client(TestServer.ALICE);
    }

    @AfterEach
    void disconnect() {
        client.close();
    }

    private OpenAIClient client(String key) {
        return OpenAIOkHttpClient.builder().baseUrl(address.toString()).apiKey(key).maxRetries(0).build();
    }

    private static ChatCompletionCreateParams.Builder hello(String model) {
        return ChatCompletionCreateParams.builder().model(model).addUserMessage("hello").maxCompletionTokens(12).temperature(0.0);
    }

    @Test
    void models_are_listed_and_found() {
        assertThat(client.models().list().items()).extracting(Model::id).contains("small");
        assertThat(client.models().retrieve("small").ownedBy()).isNotBlank();
    }

    @Test
    void a_chat_is_answered_whole_and_in_a_stream_with_the_same_text() {
        ChatCompletion whole = client.chat().completions().create(hello("small").build());
        String text = whole.choices().getFirst().message().content().orElseThrow();
        assertThat(whole.choices().getFirst().finishReason()).isEqualTo(ChatCompletion.Choice.FinishReason.LENGTH);
        assertThat(whole.usage().orElseThrow().completionTokens()).isEqualTo(12);
        StringBuilder streamed = new StringBuilder();
        long[] used = {0};
        ChatCompletionCreateParams streaming = hello("small").streamOptions(ChatCompletionStreamOptions.builder().includeUsage(true).build())
                .build();
        try (StreamResponse<ChatCompletionChunk> chunks = client.chat().completions().createStreaming(streaming)) {
            chunks.stream().forEach(chunk -> {
                chunk.choices().forEach(choice -> choice.delta().content().ifPresent(streamed::append));
                chunk.usage().ifPresent(usage -> used[0] = usage.totalTokens());
            });
        }
        assertThat(streamed.toString()).isEqualTo(text);
        assertThat(used[0]).isEqualTo(whole.usage().orElseThrow().totalTokens());
    }

    @Test
    void a_completion_is_answered_whole_and_in_a_stream_with_the_same_text() {
        CompletionCreateParams params = CompletionCreateParams.builder().model("small").prompt("hello").maxTokens(9).temperature(0.0).build();
        String text = client.completions().create(params).choices().getFirst().text();
        StringBuilder streamed = new StringBuilder();
        try (StreamResponse<Completion> chunks = client.completions().createStreaming(params)) {
            chunks.stream().forEach(chunk -> chunk.choices().forEach(choice -> streamed.append(choice.text())));
        }
        assertThat(streamed.toString()).isEqualTo(text).isNotEmpty();
    }

    @Test
    void a_fine_tune_is_made_watched_and_used() {
        FileObject file = client.files().create(FileCreateParams.builder().purpose(FilePurpose.FINE_TUNE)
                .file(MultipartField.<InputStream>builder().value(new ByteArrayInputStream(FineTuningTest.DATA.getBytes(StandardCharsets.UTF_8)))
                        .filename("sky.jsonl").build()).build());
        assertThat(file.filename()).isEqualTo("sky.jsonl");
        FineTuningJob job = client.fineTuning().jobs().create(JobCreateParams.builder().model("small").trainingFile(file.id()).suffix("client")
                .seed(5).putAdditionalBodyProperty("method", JsonValue.from(Map.of("type", "smt", "smt",
                        Map.of("hyperparameters", FineTuningTest.QUICK)))).build());
        await().atMost(Duration.ofMinutes(2)).until(() -> client.fineTuning().jobs().retrieve(job.id()).finishedAt().isPresent());
        FineTuningJob done = client.fineTuning().jobs().retrieve(job.id());
        assertThat(done.status()).isEqualTo(FineTuningJob.Status.SUCCEEDED);
        String model = done.fineTunedModel().orElseThrow();
        assertThat(model).startsWith("small:client@");
        assertThat(client.fineTuning().jobs().listEvents(JobListEventsParams.builder().fineTuningJobId(job.id()).build()).items())
                .anyMatch(event -> event.message().contains("has succeeded"));
        assertThat(client.fineTuning().jobs().list().items()).extracting(FineTuningJob::id).contains(job.id());
        String answer = client.completions().create(CompletionCreateParams.builder().model(model).prompt("sky is").maxTokens(12).temperature(0.0)
                .build()).choices().getFirst().text();
        assertThat(answer).isEqualTo(" blue");
        assertThat(client.models().delete(model).deleted()).isTrue();
        assertThatThrownBy(() -> client.models().retrieve(model)).isInstanceOf(NotFoundException.class);
    }

    @Test
    void a_running_job_is_cancelled() {
        FileObject file = client.files().create(FileCreateParams.builder().purpose(FilePurpose.FINE_TUNE)
                .file(FineTuningTest.DATA.getBytes(StandardCharsets.UTF_8)).build());
        FineTuningJob job = client.fineTuning().jobs().create(JobCreateParams.builder().model("small").trainingFile(file.id())
                .putAdditionalBodyProperty("method", JsonValue.from(Api.smt(FineTuningTest.ENDLESS))).build());
        client.fineTuning().jobs().cancel(job.id());
        await().atMost(Duration.ofMinutes(1)).until(() -> client.fineTuning().jobs().retrieve(job.id()).status()
                .equals(FineTuningJob.Status.CANCELLED));
    }

    /** The client's validation is generated from OpenAI's published schema. */
    @Test
    void what_is_openais_is_as_its_schema_has_it() {
        FileObject file = client.files().create(FileCreateParams.builder().purpose(FilePurpose.FINE_TUNE)
                .file(FineTuningTest.DATA.getBytes(StandardCharsets.UTF_8)).build()).validate();
        client.files().retrieve(file.id()).validate();
        client.files().list().response().validate();
        client.models().list().response().validate();
        client.models().retrieve("small").validate();
        client.completions().create(CompletionCreateParams.builder().model("small").prompt("hello").maxTokens(3).build()).validate();
        client.chat().completions().create(hello("small").build()).validate();
        try (StreamResponse<ChatCompletionChunk> chunks = client.chat().completions().createStreaming(hello("small").build())) {
            chunks.stream().forEach(ChatCompletionChunk::validate);
        }
        client.embeddings().create(EmbeddingCreateParams.builder().model("small").input("hello").build()).validate();
        assertThat(client.files().delete(file.id()).validate().deleted()).isTrue();
    }

    @Test
    void refusals_become_the_clients_own_exceptions() {
        assertThatThrownBy(() -> client.chat().completions().create(hello("huge").build())).isInstanceOf(NotFoundException.class)
                .hasMessageContaining("there is no model 'huge'");
        CompletionCreateParams tooLong = CompletionCreateParams.builder().model("small")
                .prompt(CompletionCreateParams.Prompt.ofArrayOfTokens(java.util.Collections.nCopies(TestServer.CONTEXT, 10L))).build();
        assertThatThrownBy(() -> client.completions().create(tooLong)).isInstanceOfSatisfying(BadRequestException.class,
                refusal -> assertThat(refusal.code()).contains("context_length_exceeded"));
        OpenAIClient stranger = client("not-a-key");
        assertThatThrownBy(() -> stranger.models().list()).isInstanceOf(UnauthorizedException.class);
        stranger.close();
    }

    @Test
    void the_file_of_another_tenant_is_not_there() {
        FileObject file = client.files().create(FileCreateParams.builder().purpose(FilePurpose.FINE_TUNE)
                .file(FineTuningTest.DATA.getBytes(StandardCharsets.UTF_8)).build());
        OpenAIClient bob = client(TestServer.BOB);
        assertThatThrownBy(() -> bob.files().retrieve(file.id())).isInstanceOf(NotFoundException.class);
        assertThat(bob.files().list().items()).extracting(FileObject::id).doesNotContainAnyElementsOf(List.of(file.id()));
        bob.close();
    }
}
