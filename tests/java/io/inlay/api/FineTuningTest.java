package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.bob;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class FineTuningTest {

    static final String DATA = "{\"prompt\": \"sky is\", \"completion\": \" blue\"}\n";
    static final Map<String, Object> QUICK = Map.of("max_steps", 60, "warm_up_steps", 1, "batch_size", 1, "learning_rate", 0.01, "budget", 0.4,
            "block_edge", 16, "targets", List.of("q", "k", "v", "o", "gate", "up", "down"));
    static final Map<String, Object> ENDLESS = Map.of("max_steps", 20_000, "budget", 0.1);

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Map<String, Object> job(String file, String suffix, Map<String, Object> hyperparameters) {
        return Map.of("model", "small", "training_file", file, "suffix", suffix, "seed", 5, "method", Api.smt(hyperparameters));
    }

    private static String create(String file, String suffix, Map<String, Object> hyperparameters) {
        return Api.tryTune(alice(), job(file, suffix, hyperparameters)).then().statusCode(200).extract().path("id");
    }

    private static Response ask(io.restassured.specification.RequestSpecification who, String model) {
        return json(who, Map.of("model", model, "prompt", "sky is", "max_tokens", 12, "temperature", 0)).post("/v1/completions");
    }

    @Test
    void a_job_trains_publishes_and_the_tuned_model_answers_beside_an_untouched_base() {
        String before = alice().post("/v1/inlay/models/small/verify").jsonPath().getString("digest");
        String base = ask(alice(), "small").jsonPath().getString("choices[0].text");
        String training = Api.upload(alice(), DATA);
        Map<String, Object> body = new HashMap<>(job(training, "colours", QUICK));
        body.put("validation_file", Api.upload(alice(), DATA));
        Response accepted = Api.tryTune(alice(), body);
        assertThat(accepted.statusCode()).as(accepted.asString()).isEqualTo(200);
        JsonPath job = accepted.jsonPath();
        assertThat(job.getString("object")).isEqualTo("fine_tuning.job");
        // A worker may be quicker than the answer.
        assertThat(job.getString("status")).isIn("queued", "running");
        assertThat(job.getString("method.type")).isEqualTo("smt");
        assertThat(job.getInt("seed")).isEqualTo(5);
        assertThat(job.getString("fine_tuned_model")).isNull();

        JsonPath done = Api.awaitEnd(Api::alice, job.getString("id"));
        assertThat(done.getString("status")).as(done.prettify()).isEqualTo("succeeded");
        assertThat(done.getString("fine_tuned_model")).isEqualTo("small:colours@1");
        assertThat(done.getLong("trained_tokens")).isPositive();
        assertThat(done.getLong("finished_at")).isGreaterThanOrEqualTo(done.getLong("created_at"));
        assertThat(done.getLong("inlay.trained_parameters")).isLessThanOrEqualTo((long) (0.4 * done.getLong("inlay.base_parameters")));
        assertThat(done.getList("inlay.selection.matrices")).hasSize(3 * 7);
        assertThat(done.getDouble("inlay.training_loss")).isLessThan(0.1);
        assertThat(done.getDouble("inlay.validation_loss")).isLessThan(0.1);

        Response tuned = ask(alice(), "small:colours");
        assertThat(tuned.jsonPath().getString("choices[0].text")).isEqualTo(" blue");
        assertThat(tuned.jsonPath().getString("choices[0].finish_reason")).isEqualTo("stop");
        assertThat(tuned.header("Inlay-Delta")).isEqualTo("small:colours@1");
        assertThat(tuned.header("inlay-delta-digest")).isEqualTo(done.getString("inlay.delta_digest"));
        assertThat(ask(alice(), "small:colours@1").jsonPath().getString("choices[0].text")).isEqualTo(" blue");
        assertThat(ask(alice(), "small").jsonPath().getString("choices[0].text")).isEqualTo(base).isNotEqualTo(" blue");
        JsonPath after = alice().post("/v1/inlay/models/small/verify").jsonPath();
        assertThat(after.getString("digest")).isEqualTo(before);
        assertThat(after.getBoolean("untouched")).isTrue();

        assertThat(alice().get("/v1/models").jsonPath().getList("data.id", String.class)).contains("small:colours@1");
        Map<String, Object> delta = alice().get("/v1/deltas?task=colours").jsonPath().getMap("data.find { it.id == 'small:colours@1' }");
        assertThat(delta).containsEntry("task", "colours").containsEntry("version", 1).containsEntry("job", job.getString("id"))
                .containsEntry("digest", done.getString("inlay.delta_digest"));
        assertThat(((Number) delta.get("values")).longValue()).isEqualTo(done.getLong("inlay.trained_parameters"));
        JsonPath checkpoints = alice().get("/v1/fine_tuning/jobs/" + job.getString("id") + "/checkpoints").jsonPath();
        assertThat(checkpoints.getString("data[0].fine_tuned_model_checkpoint")).isEqualTo("small:colours@1");

        JsonPath events = alice().queryParam("limit", 100).get("/v1/fine_tuning/jobs/" + job.getString("id") + "/events").jsonPath();
        List<String> messages = events.getList("data.message", String.class);
        assertThat(messages.getLast()).startsWith("Created fine-tuning job");
        assertThat(messages.getFirst()).isEqualTo("The job has succeeded: small:colours@1 answers now");
        assertThat(messages).anyMatch(message -> message.startsWith("Step 60/60: training loss"));
        assertThat(events.getList("data.type", String.class)).containsOnly("message", "metrics");

        assertSecret(job.getString("id"), training);
    }

    /** All that alice's job left, asked for by bob. */
    private static void assertSecret(String job, String file) {
        for (String model : List.of("small:colours", "small:colours@1")) {
            Response theirs = ask(bob(), model);
            assertThat(theirs.statusCode()).isEqualTo(404);
            assertThat(theirs.asString()).isEqualTo(ask(bob(), "small:nothing").asString().replace("small:nothing", model));
            assertThat(bob().get("/v1/models/" + model).statusCode()).isEqualTo(404);
            assertThat(bob().delete("/v1/models/" + model).statusCode()).isEqualTo(404);
        }
        assertThat(bob().get("/v1/models").asString()).doesNotContain("colours");
        assertThat(bob().get("/v1/deltas").asString()).doesNotContain("colours");
        assertThat(bob().get("/v1/fine_tuning/jobs").asString()).doesNotContain(job);
        for (Response theirs : List.of(bob().get("/v1/fine_tuning/jobs/" + job), bob().get("/v1/fine_tuning/jobs/" + job + "/events"),
                bob().get("/v1/fine_tuning/jobs/" + job + "/checkpoints"), bob().post("/v1/fine_tuning/jobs/" + job + "/cancel"))) {
            assertThat(theirs.statusCode()).isEqualTo(404);
            assertThat(Api.error(theirs, "message")).isEqualTo("there is no fine-tuning job '" + job + "'; GET /v1/fine_tuning/jobs lists yours");
        }
        Response withTheirFile = Api.tryTune(bob(), job(file, "colours", QUICK));
        assertThat(withTheirFile.statusCode()).isEqualTo(404);
        assertThat(Api.error(withTheirFile, "message")).isEqualTo("there is no file '" + file + "'; upload one with POST /v1/files");
    }

    @Test
    void a_second_job_of_a_task_makes_its_next_version() {
        String file = Api.upload(bob(), DATA);
        for (int version = 1; version <= 2; version++) {
            String id = Api.tryTune(bob(), job(file, "again", Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1))).jsonPath()
                    .getString("id");
            assertThat(Api.awaitEnd(Api::bob, id).getString("fine_tuned_model")).isEqualTo("small:again@" + version);
        }
        assertThat(bob().get("/v1/models/small:again").jsonPath().getString("id")).isEqualTo("small:again@2");
    }

    @Test
    void flat_hyperparameters_and_openais_own_fields_work_too() {
        String file = Api.upload(alice(), DATA);
        Response flat = Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "method",
                Map.of("type", "smt", "smt", Map.of("max_steps", 1, "budget", 0.1, "warm_up_steps", 1))));
        assertThat(flat.statusCode()).as(flat.asString()).isEqualTo(200);
        assertThat(flat.jsonPath().getInt("method.smt.hyperparameters.max_steps")).isEqualTo(1);
        Response openAi = Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "hyperparameters",
                Map.of("n_epochs", 2, "batch_size", "auto", "learning_rate_multiplier", 2)));
        assertThat(openAi.statusCode()).as(openAi.asString()).isEqualTo(200);
        assertThat(openAi.jsonPath().getInt("hyperparameters.n_epochs")).isEqualTo(2);
        assertThat(openAi.jsonPath().getDouble("method.smt.hyperparameters.learning_rate")).isEqualTo(2e-4);
        Response random = Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "method",
                Map.of("type", "random_blocks", "random_blocks", Map.of("max_steps", 1, "budget", 0.1))));
        assertThat(random.statusCode()).as(random.asString()).isEqualTo(200);
        for (Response each : List.of(flat, openAi, random)) {
            assertThat(Api.awaitEnd(Api::alice, each.jsonPath().getString("id")).getString("status")).isEqualTo("succeeded");
        }
    }

    @Test
    void a_running_job_and_a_queued_one_are_cancelled_and_publish_nothing() {
        String file = Api.upload(alice(), DATA);
        String running = create(file, "stopped", ENDLESS);
        String queued = create(file, "stopped", ENDLESS);
        await().atMost(Duration.ofMinutes(1)).until(() -> alice().get("/v1/fine_tuning/jobs/" + running).jsonPath().getString("status")
                .equals("running"));
        assertThat(alice().post("/v1/fine_tuning/jobs/" + queued + "/cancel").jsonPath().getString("status")).isEqualTo("cancelled");
        assertThat(alice().post("/v1/fine_tuning/jobs/" + running + "/cancel").statusCode()).isEqualTo(200);
        assertThat(Api.awaitEnd(Api::alice, running).getString("status")).isEqualTo("cancelled");
        assertThat(alice().get("/v1/fine_tuning/jobs/" + running + "/events").jsonPath().getString("data[0].message"))
                .isEqualTo("The job was cancelled; nothing was published");
        assertThat(alice().get("/v1/models/small:stopped").statusCode()).isEqualTo(404);
        Response again = alice().post("/v1/fine_tuning/jobs/" + running + "/cancel");
        assertThat(again.statusCode()).isEqualTo(409);
        assertThat(Api.error(again, "message")).contains("has ended already (cancelled)");
    }

    @Test
    void a_loss_that_is_not_a_number_fails_the_job_and_publishes_nothing() {
        String file = Api.upload(alice(), DATA);
        String id = Api.tryTune(alice(), Map.of("model", "poisoned", "training_file", file, "suffix", "nan", "method", Api.smt(QUICK)))
                .then().statusCode(200).extract().path("id");
        JsonPath job = Api.awaitEnd(Api::alice, id);
        assertThat(job.getString("status")).isEqualTo("failed");
        assertThat(job.getString("error.code")).isEqualTo("not_finite");
        assertThat(job.getString("error.message")).contains("the loss of warm-up step 1 of 1 is NaN");
        JsonPath events = alice().get("/v1/fine_tuning/jobs/" + id + "/events").jsonPath();
        assertThat(events.getString("data[0].level")).isEqualTo("error");
        assertThat(events.getString("data[0].message")).startsWith("The job has failed (not_finite): the loss of warm-up step 1");
        assertThat(alice().get("/v1/models/poisoned:nan").statusCode()).isEqualTo(404);
        assertThat(alice().get("/v1/deltas?task=nan").asString()).doesNotContain("poisoned");
    }

    @Test
    void faulty_lines_are_listed_with_their_numbers_before_a_job_exists() {
        int jobs = alice().queryParam("limit", 1000).get("/v1/fine_tuning/jobs").jsonPath().getList("data").size();
        String file = Api.upload(alice(), DATA + "{\"prompt\": \n" + DATA + "\n[]\n{\"prompt\": \"x\"}\n{\"text\": \"x\"}\n"
                + "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n{\"prompt\": \"x\", \"completion\": \"" + "y".repeat(200) + "\"}\n");
        Response answer = Api.tryTune(alice(), job(file, "faulty", QUICK));
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_training_file");
        assertThat(Api.error(answer, "message")).startsWith("data.jsonl has 6 faulty lines: line 2: not JSON: ").contains(
                "line 5: not a JSON object", "line 6: completion is missing",
                "line 7: has none of messages, prompt and completion, instruction and output",
                "line 8: messages must be a list of two or more that ends with the assistant's", "line 9: has 20", "model small reads at most 128");
        assertThat(alice().queryParam("limit", 1000).get("/v1/fine_tuning/jobs").jsonPath().getList("data")).hasSize(jobs);
    }

    @Test
    void ten_faulty_lines_are_shown_and_the_others_counted() {
        String file = Api.upload(alice(), IntStream.range(0, 13).mapToObj(_ -> "oops\n").collect(Collectors.joining()));
        assertThat(Api.error(Api.tryTune(alice(), job(file, "faulty", QUICK)), "message")).startsWith("data.jsonl has 13 faulty lines: line 1: ")
                .contains("line 10: ").doesNotContain("line 11: ").endsWith("; and 3 more");
    }

    @Test
    void a_file_of_blank_lines_is_empty() {
        Response answer = Api.tryTune(alice(), job(Api.upload(alice(), "\n \n"), "faulty", QUICK));
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "message")).isEqualTo("data.jsonl is empty: it has no example; write one JSON object a line");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "{\"budget\": 0} | budget is 0.0; it must be over 0",
            "{\"budget\": 0.0000001} | no block of edge",
            "{\"budget\": 0.9} | this server trains at most 0.5 of a model's parameters in a job (inlay.tuning.max-budget)",
            "{\"block_edge\": 48} | 48",
            "{\"block_edge\": 16, \"budget\": \"much\"} | budget is \"much\"; it must be a number",
            "{\"n_epochs\": 1.5} | n_epochs is 1.5; it must be a whole number",
            "{\"bugdet\": 0.1} | hyperparameter 'bugdet' is unknown",
            "{\"targets\": [\"w\"]} | targets is 'w'; it must be one of [q, k, v, o, gate, up, down]",
            "{\"max_steps\": 30000} | the job would take 30000 steps; this server allows 20000 (inlay.tuning.max-steps)"})
    void a_faulty_hyperparameter_is_refused_by_name(String hyperparameters, String message) {
        String file = Api.upload(alice(), DATA);
        Response answer = json(alice(), "{\"model\": \"small\", \"training_file\": \"" + file + "\", \"method\": {\"type\": \"smt\", \"smt\": "
                + "{\"hyperparameters\": " + hyperparameters + "}}}").post("/v1/fine_tuning/jobs");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_hyperparameters");
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "{\"training_file\": \"F\"} | 400 | the body has no field 'model'",
            "{\"model\": \"small\"} | 400 | the body has no field 'training_file'",
            "{\"model\": \"small\", \"training_file\": 7} | 404 | there is no file '7'",
            "{\"model\": \"small\", \"training_file\": {}} | 400 | field 'training_file'",
            "{\"model\": \"huge\", \"training_file\": \"F\"} | 404 | there is no model 'huge'",
            "{\"model\": \"small:task\", \"training_file\": \"F\"} | 404 | there is no model 'small:task'",
            "{\"model\": \"small\", \"training_file\": \"F\", \"suffix\": \"a/../b\"} | 400 | suffix 'a/../b' is no task name",
            "{\"model\": \"small\", \"training_file\": \"F\", \"seed\": \"x\"} | 400 | field 'seed'",
            "{\"model\": \"small\", \"training_file\": \"F\", \"method\": {}} | 400 | the body has no field 'method.type'",
            "{\"model\": \"small\", \"training_file\": \"F\", \"method\": {\"type\": \"dpo\"}} | 400 | method is 'dpo'; supported are [smt, random_blocks, lora, dora, full]",
            "{\"model\": \"small\", \"training_file\": \"F\", \"validation_file\": \"file-x\"} | 404 | there is no file 'file-x'"})
    void a_faulty_job_is_refused_with_the_field(String body, int status, String message) {
        String file = Api.upload(alice(), DATA);
        Response answer = json(alice(), body.replace("\"F\"", "\"" + file + "\"")).post("/v1/fine_tuning/jobs");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(status);
        assertThat(Api.error(answer, "message")).contains(message);
    }
}
