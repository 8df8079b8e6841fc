package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.quarkus.test.junit.QuarkusTestProfile;
import io.quarkus.test.junit.TestProfile;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A server with one model in int8 beside others as they are. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
@TestProfile(Int8ServingTest.Settings.class)
class Int8ServingTest {

    public static final class Settings implements QuarkusTestProfile {

        @Override
        public Map<String, String> getConfigOverrides() {
            return Map.of("inlay.models.int8", "small");
        }
    }

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static Response ask(String model) {
        return json(alice(), Map.of("model", model, "prompt", "sky is", "max_tokens", 12, "temperature", 0)).post("/v1/completions");
    }

    @Test
    void models_say_in_which_form_they_are_served() {
        JsonPath models = alice().get("/v1/models").jsonPath();
        assertThat(models.getString("data.find { it.id == 'small' }.weights")).isEqualTo("int8");
        assertThat(models.getString("data.find { it.id == 'inlay-tiny' }.weights")).isEqualTo("bf16");
        JsonPath small = alice().get("/v1/models/small").jsonPath();
        assertThat(small.getLong("bytes")).isBetween(small.getLong("parameters"), small.getLong("parameters") * 2);
        JsonPath tiny = alice().get("/v1/models/inlay-tiny").jsonPath();
        assertThat(tiny.getLong("bytes")).isEqualTo(tiny.getLong("parameters") * 2);
    }

    @Test
    void an_int8_base_answers_is_verified_tuned_and_answers_through_its_delta() {
        Response base = ask("small");
        assertThat(base.statusCode()).isEqualTo(200);
        assertThat(base.jsonPath().getInt("usage.completion_tokens")).isPositive();
        assertThat(ask("small").jsonPath().getString("choices[0].text")).isEqualTo(base.jsonPath().getString("choices[0].text"));

        String file = Api.upload(alice(), FineTuningTest.DATA);
        Response accepted = Api.tryTune(alice(), Map.of("model", "small", "training_file", file, "suffix", "colours", "seed", 5, "method",
                Api.smt(FineTuningTest.QUICK)));
        JsonPath done = Api.awaitEnd(Api::alice, accepted.jsonPath().getString("id"));
        assertThat(done.getString("status")).as(done.prettify()).isEqualTo("succeeded");
        Response tuned = ask("small:colours");
        assertThat(tuned.jsonPath().getString("choices[0].text")).isEqualTo(" blue");
        assertThat(tuned.jsonPath().getString("choices[0].finish_reason")).isEqualTo("stop");
        assertThat(alice().post("/v1/inlay/models/small/verify").jsonPath().getBoolean("untouched")).isTrue();
    }

    @Test
    void embeddings_and_log_probabilities_of_a_prompt_are_there_too() {
        JsonPath embedded = json(alice(), Map.of("model", "small", "input", List.of("sky is"))).post("/v1/embeddings").jsonPath();
        assertThat(embedded.getList("data[0].embedding")).hasSize(64);
        JsonPath echoed = json(alice(), Map.of("model", "small", "prompt", "sky is", "max_tokens", 1, "echo", true, "logprobs", 1))
                .post("/v1/completions").jsonPath();
        assertThat(echoed.getString("choices[0].text")).startsWith("sky is");
    }
}
