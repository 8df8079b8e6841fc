package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.core.JsonValue;
import com.openai.errors.OpenAIServiceException;
import com.openai.models.finetuning.jobs.FineTuningJob;
import com.openai.models.finetuning.jobs.JobCreateParams;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import java.net.URI;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Jobs that wait and go on, over REST and by OpenAI's own Java client. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class PausingTest {

    private static final Map<String, Object> STEADY = Map.of("max_steps", 2000, "warm_up_steps", 1, "batch_size", 1, "learning_rate", 0.01,
            "budget", 0.4, "block_edge", 16, "targets", List.of("q", "k", "v", "o", "gate", "up", "down"));

    @TestHTTPResource("/v1")
    URI address;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static String create(String suffix, Map<String, Object> hyperparameters, Map<String, Object> more) {
        Map<String, Object> body = new HashMap<>(Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA),
                "suffix", suffix, "method", Api.smt(hyperparameters)));
        body.putAll(more);
        return Api.tryTune(alice(), body).then().statusCode(200).extract().path("id");
    }

    private static Response post(String job, String what) {
        return alice().post("/v1/fine_tuning/jobs/" + job + "/" + what);
    }

    private static List<String> messages(String job) {
        return alice().queryParam("limit", 1000).get("/v1/fine_tuning/jobs/" + job + "/events").jsonPath()
                .getList("data.message", String.class);
    }

    private static void awaitMessage(String job, String beginning) {
        await().atMost(Duration.ofMinutes(1)).pollInterval(Duration.ofMillis(50))
                .until(() -> messages(job).stream().anyMatch(message -> message.startsWith(beginning)));
    }

    private static void awaitStatus(String job, String status) {
        await().atMost(Duration.ofMinutes(1)).pollInterval(Duration.ofMillis(20))
                .until(() -> alice().get("/v1/fine_tuning/jobs/" + job).jsonPath().getString("status").equals(status));
    }

    @Test
    void a_paused_job_waits_until_it_is_resumed_and_then_publishes() {
        String job = create("paused", STEADY, Map.of());
        awaitMessage(job, "Step ");
        assertThat(post(job, "pause").jsonPath().getString("status")).isIn("running", "paused");
        awaitStatus(job, "paused");
        JsonPath waiting = alice().get("/v1/fine_tuning/jobs/" + job).jsonPath();
        assertThat((Object) waiting.get("fine_tuned_model")).isNull();
        assertThat((Object) waiting.get("finished_at")).isNull();
        assertThat(messages(job).getFirst()).isEqualTo("The job is paused");

        assertThat(bob().post("/v1/fine_tuning/jobs/" + job + "/resume").statusCode()).isEqualTo(404);
        assertThat(post(job, "resume").jsonPath().getString("status")).isIn("queued", "running");
        JsonPath done = Api.awaitEnd(Api::alice, job);
        assertThat(done.getString("status")).as(done.prettify()).isEqualTo("succeeded");
        assertThat(messages(job)).anyMatch(message -> message.matches("The job goes on from its checkpoint after training step \\d+"));
        Response again = post(job, "pause");
        assertThat(again.statusCode()).isEqualTo(409);
        assertThat(Api.error(again, "message")).isEqualTo("job " + job + " has ended already (succeeded); there is nothing to pause");
    }

    @Test
    void a_cancelled_job_that_kept_its_best_has_published_it() {
        Map<String, Object> keeping = new HashMap<>(STEADY);
        keeping.putAll(Map.of("max_steps", 20_000, "keep_best", true, "evaluate_every", 10));
        String job = create("kept", keeping, Map.of("validation_file", Api.upload(alice(), FineTuningTest.DATA)));
        awaitMessage(job, "Step 200: validation loss");
        post(job, "cancel").then().statusCode(200);
        JsonPath done = Api.awaitEnd(Api::alice, job);
        assertThat(done.getString("status")).isEqualTo("cancelled");
        assertThat(done.getString("fine_tuned_model")).isEqualTo("small:kept@1");
        assertThat(done.getBoolean("inlay.stopped_early")).isFalse();
        assertThat(done.getInt("inlay.best_step")).isPositive();
        JsonPath checkpoint = alice().get("/v1/fine_tuning/jobs/" + job + "/checkpoints").jsonPath();
        assertThat(checkpoint.getString("data[0].fine_tuned_model_checkpoint")).isEqualTo("small:kept@1");
        assertThat(checkpoint.getInt("data[0].step_number")).isEqualTo(done.getInt("inlay.best_step"));
        assertThat(Api.json(alice(), Map.of("model", "small:kept", "prompt", "sky is", "max_tokens", 12, "temperature", 0))
                .post("/v1/completions").jsonPath().getString("choices[0].text")).isEqualTo(" blue");
    }

    @Test
    void openais_client_pauses_reads_and_resumes() {
        try (Closing client = new Closing(OpenAIOkHttpClient.builder().baseUrl(address.toString()).apiKey(TestServer.ALICE).maxRetries(0)
                .build())) {
            var jobs = client.client().fineTuning().jobs();
            FineTuningJob job = jobs.create(JobCreateParams.builder().model("small").trainingFile(Api.upload(alice(), FineTuningTest.DATA))
                    .putAdditionalBodyProperty("method", JsonValue.from(Api.smt(STEADY))).build());
            awaitMessage(job.id(), "Step ");
            assertThat(jobs.pause(job.id()).id()).isEqualTo(job.id());
            await().atMost(Duration.ofMinutes(1)).until(() -> jobs.retrieve(job.id()).status().asString().equals("paused"));
            assertThat(jobs.list().items()).filteredOn(each -> each.id().equals(job.id())).singleElement()
                    .satisfies(each -> assertThat(each.status().asString()).isEqualTo("paused"));
            assertThat(jobs.resume(job.id()).id()).isEqualTo(job.id());
            await().atMost(Duration.ofMinutes(1)).until(() -> jobs.retrieve(job.id()).status().equals(FineTuningJob.Status.SUCCEEDED));
            assertThatThrownBy(() -> jobs.resume(job.id())).isInstanceOfSatisfying(OpenAIServiceException.class,
                    refusal -> assertThat(refusal.statusCode()).isEqualTo(409));
        }
    }

    /** OpenAI's client is closed by hand. */
    private record Closing(OpenAIClient client) implements AutoCloseable {

        @Override
        public void close() {
            client.close();
        }
    }
}
