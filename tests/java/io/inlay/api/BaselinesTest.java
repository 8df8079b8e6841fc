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
import org.junit.jupiter.params.provider.ValueSource;

/** LoRA, DoRA and full fine-tuning over REST, from job to answer. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class BaselinesTest {

    private static final List<String> ALL = List.of("q", "k", "v", "o", "gate", "up", "down");
    private static final int LAYERS = 3;
    /** Sides of each of a layer's linears, out + in, of the test's model: hidden 64, feed-forward 160, keys and values 32. */
    private static final int SIDES = 2 * (64 + 64) + 2 * (32 + 64) + 3 * (160 + 64);
    private static final int OUTPUTS = 64 + 32 + 32 + 64 + 160 + 160 + 64;
    private static final int VALUES_OF_LINEARS = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 160 * 64;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static JsonPath tune(String type, Map<String, Object> fields) {
        Map<String, Object> hyperparameters = new HashMap<>(Map.of("batch_size", 1, "learning_rate", 0.01, "max_steps", 60));
        hyperparameters.putAll(fields);
        Response accepted = tryTune(type, hyperparameters);
        assertThat(accepted.statusCode()).as(accepted.asString()).isEqualTo(200);
        assertThat(accepted.jsonPath().getString("method.type")).isEqualTo(type);
        JsonPath done = Api.awaitEnd(Api::alice, accepted.jsonPath().getString("id"));
        assertThat(done.getString("status")).as(done.prettify()).isEqualTo("succeeded");
        assertThat(done.getString("inlay.method")).isEqualTo(type);
        assertThat(done.getLong("inlay.delta_bytes")).isPositive();
        assertThat(done.getMap("inlay")).doesNotContainKey("selection").containsEntry("warm_up_steps", 0);
        return done;
    }

    private static Response tryTune(String type, Object hyperparameters) {
        return Api.tryTune(alice(), Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA), "suffix", type,
                "seed", 5, "method", Map.of("type", type, type, Map.of("hyperparameters", hyperparameters))));
    }

    /** The model as tuned answers what it was taught, and the base still what it did. */
    private static void assertAnswers(JsonPath done, String type, String before) {
        Response tuned = ask("small:" + type);
        assertThat(tuned.jsonPath().getString("choices[0].text")).isEqualTo(" blue");
        assertThat(tuned.header("inlay-delta-digest")).isEqualTo(done.getString("inlay.delta_digest"));
        assertThat(ask("small").jsonPath().getString("choices[0].text")).isEqualTo(before).isNotEqualTo(" blue");
        assertThat(alice().post("/v1/inlay/models/small/verify").jsonPath().getBoolean("untouched")).isTrue();
        Map<String, Object> delta = alice().get("/v1/deltas?task=" + type).jsonPath().getMap("data.find { it.task == '" + type + "' }");
        assertThat(((Number) delta.get("values")).longValue()).isEqualTo(done.getLong("inlay.delta_values"));
    }

    private static Response ask(String model) {
        return json(alice(), Map.of("model", model, "prompt", "sky is", "max_tokens", 12, "temperature", 0)).post("/v1/completions");
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "dora"})
    void an_adapter_trains_is_merged_publishes_and_answers(String type) {
        String before = ask("small").jsonPath().getString("choices[0].text");
        JsonPath done = tune(type, Map.of("rank", 8, "alpha", 16, "targets", ALL));
        assertThat(done.getInt("method." + type + ".hyperparameters.rank")).isEqualTo(8);
        assertThat(done.getDouble("method." + type + ".hyperparameters.dropout")).isEqualTo(0.05);
        assertThat(done.getInt("inlay.trained_parameters")).isEqualTo(LAYERS * (8 * SIDES + (type.equals("dora") ? OUTPUTS : 0)));
        assertThat(done.getInt("inlay.delta_values")).isEqualTo(LAYERS * VALUES_OF_LINEARS);
        assertThat(done.getDouble("inlay.training_loss")).isLessThan(0.5);
        assertAnswers(done, type, before);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
            "full | budget | 0.1 | hyperparameter 'budget' is none of method full; only smt, random_blocks have it; leave it out",
            "lora | warm_up_steps | 5 | hyperparameter 'warm_up_steps' is none of method lora; only smt has it; leave it out",
            "random_blocks | score | 5 | hyperparameter 'score' is none of method random_blocks; only smt has it; leave it out",
            "smt | rank | 8 | hyperparameter 'rank' is none of method smt; only lora, dora have it; leave it out",
            "dora | rank | 0 | rank is 0; it must be 1 to 65536",
            "dora | alpha | 0 | alpha is 0.0; it must be over 0.0 and at most 1000000.0",
            "lora | dropout | 1 | dropout is 1.0; it must be 0.0 to 0.95",
            "lora | rnak | 8 | hyperparameter 'rnak' is unknown"})
    void a_field_that_the_method_lacks_or_that_is_out_of_bounds_is_refused_by_name(String type, String field, double value, String message) {
        Response answer = tryTune(type, Map.of(field, value == Math.rint(value) ? (Object) (int) value : (Object) value));
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(400);
        assertThat(Api.error(answer, "code")).isEqualTo("invalid_hyperparameters");
        assertThat(Api.error(answer, "message")).startsWith(message);
    }

    @Test
    void full_fine_tuning_publishes_every_parameter_and_answers() {
        String before = ask("small").jsonPath().getString("choices[0].text");
        JsonPath done = tune("full", Map.of());
        assertThat(done.getInt("inlay.trained_parameters")).isEqualTo(done.getInt("inlay.base_parameters"));
        assertThat(done.getInt("inlay.delta_values")).isEqualTo(done.getInt("inlay.base_parameters"));
        assertThat(done.getDouble("inlay.share_of_parameters")).isEqualTo(1);
        assertAnswers(done, "full", before);
    }
}
