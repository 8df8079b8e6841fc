package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Deltas whose files were tampered with after publication, asked for over the interface. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class DamagedDeltaTest {

    @ConfigProperty(name = "inlay.store")
    Path store;

    private final List<Path> damaged = new ArrayList<>();

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    @AfterEach
    void remove() throws IOException {
        for (Path file : damaged) {
            Files.delete(file);
        }
    }

    /** Publishes a delta and returns the bytes of its file. */
    private byte[] publish(String task) throws IOException {
        String id = Api.tryTune(alice(), Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA), "suffix", task,
                "method", Api.smt(Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1)))).then().statusCode(200).extract().path("id");
        assertThat(Api.awaitEnd(Api::alice, id).getString("status")).isEqualTo("succeeded");
        return Files.readAllBytes(file("small", task));
    }

    private Path file(String base, String task) {
        return store.resolve("alice").resolve(base).resolve(task).resolve("1.safetensors");
    }

    /** Puts bytes where the store keeps version 1 of a task that it has not read before. */
    private void plant(String base, String task, byte[] bytes) throws IOException {
        Files.createDirectories(file(base, task).getParent());
        Files.write(file(base, task), bytes);
        damaged.add(file(base, task));
    }

    private static Response ask(String model) {
        return json(alice(), Map.of("model", model, "prompt", "sky is", "max_tokens", 2, "temperature", 0)).post("/v1/completions");
    }

    private static void assertRefused(Response answer, String code, String message) {
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(500);
        assertThat(Api.error(answer, "code")).isEqualTo(code);
        assertThat(Api.error(answer, "message")).contains(message);
    }

    @Test
    void a_flipped_bit_is_found_before_it_reaches_a_weight() throws IOException {
        byte[] bytes = publish("flipped");
        bytes[bytes.length - 7] ^= 0x10;
        plant("small", "flipped", bytes);
        assertRefused(ask("small:flipped"), "corrupt_delta", "flipped");
        assertThat(ask("small").statusCode()).isEqualTo(200);
        assertThat(alice().post("/v1/inlay/models/small/verify").jsonPath().getBoolean("untouched")).isTrue();
    }

    @Test
    void a_truncated_file_is_refused_with_its_name() throws IOException {
        byte[] bytes = publish("whole");
        plant("small", "short", Arrays.copyOf(bytes, bytes.length - 100));
        assertRefused(ask("small:short"), "corrupt_delta", "1.safetensors");
        plant("small", "stub", Arrays.copyOf(bytes, 5));
        assertRefused(ask("small:stub"), "corrupt_delta", "1.safetensors");
        assertThat(alice().get("/v1/models").jsonPath().getList("data.id", String.class)).contains("small:whole@1")
                .doesNotContain("small:short@1", "small:stub@1");
    }

    @Test
    void a_delta_of_another_base_is_refused_before_decoding() throws IOException {
        byte[] bytes = publish("elsewhere");
        plant("poisoned", "elsewhere", bytes);
        Response answer = ask("poisoned:elsewhere");
        assertThat(answer.statusCode()).as(answer.asString()).isEqualTo(409);
        assertThat(Api.error(answer, "code")).isEqualTo("base_mismatch");
    }
}
