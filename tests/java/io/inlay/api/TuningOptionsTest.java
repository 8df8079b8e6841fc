package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a job may be asked beside the basics: pools, warm-up memory, metrics, a dry run. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class TuningOptionsTest {

    private static final String DATA = FineTuningTest.DATA;
    private static final Map<String, Object> SHORT = Map.of("max_steps", 2, "warm_up_steps", 1, "batch_size", 1, "budget", 0.1,
            "block_edge", 16);

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Map<String, Object> with(Map<String, Object> basics, Map<String, Object> more) {
        Map<String, Object> all = new HashMap<>(basics);
        all.putAll(more);
        return all;
    }

    private static Map<String, Object> job(String training, Map<String, Object> hyperparameters) {
        return new HashMap<>(Map.of("model", "small", "training_file", training, "suffix", "options", "method", Api.smt(hyperparameters)));
    }

    private static JsonPath done(Map<String, Object> body) {
        Response accepted = Api.tryTune(alice(), body);
        assertThat(accepted.statusCode()).as(accepted.asString()).isEqualTo(200);
        JsonPath done = Api.awaitEnd(Api::alice, accepted.jsonPath().getString("id"));
        assertThat(done.getString("status")).as(done.prettify()).isEqualTo("succeeded");
        return done;
    }

    private static JsonPath events(JsonPath job) {
        return alice().queryParam("limit", 100).get("/v1/fine_tuning/jobs/" + job.getString("id") + "/events").jsonPath();
    }

    @Test
    void metrics_are_told_by_step_with_the_best_of_each() {
        Map<String, Object> body = job(Api.upload(alice(), DATA), with(FineTuningTest.QUICK, Map.of("evaluate_every", 20, "metrics",
                List.of("exact_match", "commonsense"), "metric_max_tokens", 8)));
        body.put("validation_file", Api.upload(alice(), DATA.replace("}\n", ", \"answer\": \"answer2\"}\n")));
        JsonPath job = done(body);
        assertThat(job.getList("inlay.metrics.step", Integer.class)).containsExactly(0, 20, 40, 60);
        assertThat(job.getDouble("inlay.metrics[0].exact_match")).isZero();
        assertThat(job.getDouble("inlay.metrics[3].exact_match")).isOne();
        assertThat(job.getInt("inlay.metrics[3].examples")).isEqualTo(1);
        assertThat(job.getDouble("inlay.best_metrics.exact_match.value")).isOne();
        assertThat(job.getInt("inlay.best_metrics.exact_match.step")).isIn(20, 40, 60);
        assertThat(job.getDouble("inlay.best_metrics.commonsense.value")).isZero();
        assertThat(job.getInt("inlay.best_metrics.commonsense.step")).as("of equals the earliest").isZero();
        assertThat(job.getList("method.smt.hyperparameters.metrics", String.class)).containsExactly("exact_match", "commonsense");
        assertThat(events(job).getList("data.message", String.class)).contains("Step 60: exact_match 1.000, commonsense 0.000 of 1 "
                + "examples");
        assertThat(events(job).getString("data.find { it.message.startsWith('Step 60: exact_match') }.data.phase")).isEqualTo("evaluation");
    }

    @Test
    void the_report_says_where_warm_up_sums_lived_and_what_was_selected() {
        JsonPath host = done(job(Api.upload(alice(), DATA), with(SHORT, Map.of("warm_up_memory", "host"))));
        assertThat(host.getString("inlay.warm_up_memory.memory")).isEqualTo("host");
        assertThat(host.getLong("inlay.warm_up_memory.bytes")).isEqualTo(4L * 3 * (64 * 64 + 2 * 32 * 64) + 4 * 96);
        assertThat(host.getLong("inlay.warm_up_memory.free_bytes")).isPositive();
        assertThat(host.getString("method.smt.hyperparameters.warm_up_memory")).isEqualTo("host");
        assertThat(events(host).getList("data.message", String.class)).contains("Warm-up sums are kept on the host (98,688 bytes)");
        JsonPath open = done(job(Api.upload(alice(), DATA), SHORT));
        assertThat(open.getString("inlay.warm_up_memory.memory")).isEqualTo("device");
        assertThat(open.getBoolean("inlay.warm_up_memory.recompute_activations")).isFalse();
        assertThat(open.getMap("inlay.selection")).isEqualTo(host.getMap("inlay.selection"));

        JsonPath selection = open.setRootPath("inlay.selection");
        assertThat(selection.getDouble("threshold")).isPositive().isEqualTo(selection.getDouble("chosen_scores.least"));
        assertThat(selection.getDouble("scores.most")).isEqualTo(selection.getDouble("chosen_scores.most"));
        assertThat(selection.getList("layers.blocks", Integer.class).stream().mapToInt(i -> i).sum()).isEqualTo(selection.getInt("blocks"));
        assertThat(selection.getList("matrices.most_score", Float.class).stream().mapToDouble(f -> f).max().orElseThrow())
                .isEqualTo(selection.getFloat("scores.most"));
        JsonPath stream = done(job(Api.upload(alice(), DATA), with(SHORT, Map.of("warm_up_memory", "stream", "score",
                "mean_abs_per_step", "recompute_activations", true))));
        assertThat(stream.getString("inlay.warm_up_memory.memory")).isEqualTo("stream");
        assertThat(stream.getBoolean("inlay.warm_up_memory.recompute_activations")).isTrue();
        assertThat(events(stream).getList("data.message", String.class)).contains("Warm-up sums are kept nowhere: gradients become numbers "
                + "of their blocks at once (384 bytes); layers are computed twice in the warm-up");
    }

    @Test
    void pools_split_the_budget_between_attention_and_the_mlp() {
        JsonPath job = done(job(Api.upload(alice(), DATA), with(SHORT, Map.of("strategy", "pools", "attention_share", 0.25))));
        int attention = job.getInt("inlay.selection.matrices.findAll { it.projection in ['q', 'k', 'v'] }.collect { it.blocks }.sum()");
        assertThat(attention).isEqualTo(Math.round(0.25f * job.getInt("inlay.selection.blocks")));
        assertThat(job.getList("method.smt.hyperparameters.targets", String.class)).containsExactly("q", "k", "v", "gate", "up", "down");
        assertThat(job.getDouble("method.smt.hyperparameters.mlp_share")).isEqualTo(0.75);
    }

    @Test
    void a_dry_run_says_what_a_job_would_be_and_cost_and_creates_nothing() {
        int jobs = jobs();
        Map<String, Object> body = job(Api.upload(alice(), DATA + DATA), with(SHORT, Map.of("max_steps", 7, "metrics", "exact_match")));
        body.put("validation_file", Api.upload(alice(), DATA));
        body.put("dry_run", true);
        Response answer = Api.tryTune(alice(), body);
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(200);
        JsonPath dry = answer.jsonPath();
        assertThat(dry.getString("object")).isEqualTo("fine_tuning.job.estimate");
        assertThat(dry.getBoolean("dry_run")).isTrue();
        assertThat(dry.getInt("examples")).isEqualTo(2);
        assertThat(dry.getInt("validation_examples")).isEqualTo(1);
        assertThat(dry.getInt("tokens")).isEqualTo(2 * dry.getInt("longest_example"));
        assertThat(dry.getInt("target_tokens")).isPositive().isLessThan(dry.getInt("tokens"));
        assertThat(dry.getInt("steps")).isEqualTo(7);
        assertThat(dry.getInt("warm_up_steps")).isEqualTo(1);
        assertThat(dry.getLong("trained_parameters")).isEqualTo(256L * dry.getInt("blocks"));
        assertThat(dry.getInt("hyperparameters.n_epochs")).isEqualTo(3);
        assertThat(dry.getString("memory.warm_up_memory")).isEqualTo("device");
        assertThat(dry.getLong("memory.peak_bytes")).isEqualTo(dry.getLong("memory.base_bytes") + dry.getLong("memory.own_bytes"));
        assertThat(dry.getLong("memory.optimizer_bytes")).isEqualTo(12 * dry.getLong("trained_parameters"));
        assertThat(dry.getLong("memory.trained_bytes")).isEqualTo(6 * dry.getLong("trained_parameters"));
        assertThat(dry.getBoolean("memory.fits")).isTrue();
        assertThat(dry.getDouble("time.seconds")).isPositive();
        assertThat(dry.getDouble("time.metric_seconds")).isPositive();
        assertThat(dry.getString("time.measured")).contains(" passes in ").endsWith("beside whatever else the server was doing");
        assertThat(jobs()).isEqualTo(jobs);
        assertThat(alice().get("/v1/models").asString()).doesNotContain("small:dry");
    }

    @Test
    void a_dry_run_refuses_what_a_job_would_be_refused_for() {
        Map<String, Object> body = job(Api.upload(alice(), DATA), Map.of("budget", 0));
        body.put("dry_run", true);
        Response answer = Api.tryTune(alice(), body);
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "message")).startsWith("budget is 0.0; it must be over 0");
        body.put("method", Api.smt(SHORT));
        body.put("training_file", "file-none");
        assertThat(Api.error(Api.tryTune(alice(), body), "message")).isEqualTo("there is no file 'file-none'; upload one with POST "
                + "/v1/files");
        body.put("dry_run", "maybe");
        assertThat(Api.error(Api.tryTune(alice(), body), "message")).contains("field 'dry_run'");
    }

    private static int jobs() {
        return alice().queryParam("limit", 1000).get("/v1/fine_tuning/jobs").jsonPath().getList("data").size();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "{\"strategy\": \"best\"} | strategy is 'best'; it must be global, per_matrix or pools",
            "{\"strategy\": \"pools\"} | strategy is 'pools'; give attention_share or mlp_share, the parts of the budget, which add up "
            + "to 1",
            "{\"strategy\": \"pools\", \"attention_share\": 0.5, \"mlp_share\": 0.4} | attention_share and mlp_share are 0.5 and 0.4; "
            + "they must",
            "{\"strategy\": \"pools\", \"mlp_share\": 2} | mlp_share is 2.0; it must be 0.0 to 1.0",
            "{\"strategy\": \"pools\", \"mlp_share\": 1, \"targets\": [\"q\"], \"budget\": 0.05} | mlp_share buys",
            "{\"warm_up_memory\": \"disk\"} | warm_up_memory is 'disk'; it must be one of [auto, device, host, stream]",
            "{\"warm_up_memory\": \"stream\"} | warm_up_memory is stream, and score mean_abs_sum sums whole gradients over all steps",
            "{\"warm_up_memory\": \"stream\", \"score\": \"mean_abs_per_step\", \"batch_size\": 2, \"micro_batch_tokens\": 1, "
            + "\"budget\": 0.1} | "
                    + "warm_up_memory is stream, and score mean_abs_per_step needs the whole gradient of a step",
            "{\"metrics\": [\"bleu\"]} | metrics has \"bleu\"; there are [exact_match, commonsense, math]",
            "{\"metrics\": [7]} | metrics has 7; there are [exact_match, commonsense, math]",
            "{\"metrics\": [\"math\"]} | metrics are measured on the validation file, and none is given; name one in validation_file",
            "{\"metrics\": [\"math\"], \"metric_examples\": 0} | metric_examples is 0; it must be 1 to 1000000",
            "{\"metric_examples\": 1.5} | metric_examples is 1.5; it must be a whole number",
            "{\"metrics\": [\"math\"], \"metric_max_tokens\": 0} | metric_max_tokens is 0; it must be 1 to 1000000"})
    void a_faulty_option_is_refused_by_name(String hyperparameters, String message) {
        String file = Api.upload(alice(), DATA + DATA);
        Response answer = json(alice(), "{\"model\": \"small\", \"training_file\": \"" + file
                + "\", \"method\": {\"type\": \"smt\", \"smt\": "
                + "{\"hyperparameters\": " + hyperparameters + "}}}").post("/v1/fine_tuning/jobs");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_hyperparameters");
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @Test
    void validation_lines_that_a_metric_cannot_judge_are_listed_with_their_numbers() {
        Map<String, Object> body = job(Api.upload(alice(), DATA), with(SHORT, Map.of("metrics", List.of("math"))));
        body.put("validation_file", Api.upload(alice(), "{\"prompt\": \"a\", \"completion\": \"it is 7\"}\n" + DATA
                + "{\"prompt\": \"a\", \"completion\": \"b\", \"answer\": \"many\"}\n{\"prompt\": \"a\", \"completion\": \"b\", "
                + "\"answer\": 12}\n"
                + "{\"prompt\": \"a\", \"completion\": \"b\", \"answer\": [1]}\n"));
        Response answer = Api.tryTune(alice(), body);
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_training_file");
        assertThat(Api.error(answer, "message")).isEqualTo("data.jsonl has 1 faulty line: line 5: answer is neither a string nor a number");
        body.put("validation_file", Api.upload(alice(), "{\"prompt\": \"a\", \"completion\": \"it is 7\"}\n" + DATA
                + "{\"prompt\": \"a\", \"completion\": \"b\", \"answer\": \"many\"}\n{\"prompt\": \"a\", \"completion\": \"b\", "
                + "\"answer\": 12}\n"));
        assertThat(Api.error(Api.tryTune(alice(), body), "message")).isEqualTo("data.jsonl has 2 faulty lines: line 2: metric math: no "
                + "answer is "
                + "given, and none is found in the output; it must be a number, or a letter A to E; line 3: metric math: answer is "
                + "'many'; it must be a number, or a letter A to E");
    }
}
