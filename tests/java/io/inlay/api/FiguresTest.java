package io.inlay.api;

import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static io.restassured.RestAssured.given;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.path.json.JsonPath;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What {@code /q/metrics} and {@code /q/health} tell. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
class FiguresTest {

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static List<String> lines() {
        return given().get("/q/metrics").then().statusCode(200).extract().asString().lines().toList();
    }

    /** The sum over all lines of that name whose labels have all of these. */
    private static double figure(String name, String... labels) {
        return lines().stream().filter(line -> line.startsWith(name + "{") || line.startsWith(name + " "))
                .filter(line -> List.of(labels).stream().allMatch(line::contains)).mapToDouble(line -> Double.parseDouble(
                        line.substring(line.lastIndexOf(' ') + 1))).sum();
    }

    private static final String SMALL = "model=\"small\"";

    @Test
    void an_answer_moves_the_figures_of_its_model() {
        double answers = figure("inlay_answers_total", SMALL, "finish=\"length\"");
        double drawn = figure("inlay_tokens_drawn_total", SMALL);
        double stepped = figure("inlay_tokens_stepped_total", SMALL);
        double first = figure("inlay_time_to_first_token_seconds_count", SMALL);
        double between = figure("inlay_inter_token_seconds_count", SMALL);
        double queue = figure("inlay_queue_seconds_count", SMALL);
        double whole = figure("inlay_answer_seconds_count", SMALL);
        double steps = figure("inlay_step_generations_count", SMALL);
        double prompted = figure("inlay_tokens_prompted_total", SMALL);
        json(alice(), Map.of("model", "small", "prompt", List.of(5, 6, 7), "max_tokens", 9, "temperature", 0)).post("/v1/completions")
                .then()
                .statusCode(200);
        await().until(() -> figure("inlay_answers_total", SMALL, "finish=\"length\"") == answers + 1);
        assertThat(figure("inlay_tokens_drawn_total", SMALL)).isEqualTo(drawn + 9);
        assertThat(figure("inlay_tokens_stepped_total", SMALL)).isEqualTo(stepped + 9);
        assertThat(figure("inlay_tokens_prompted_total", SMALL)).isEqualTo(prompted + 3);
        assertThat(figure("inlay_time_to_first_token_seconds_count", SMALL)).isEqualTo(first + 1);
        assertThat(figure("inlay_inter_token_seconds_count", SMALL)).isEqualTo(between + 8);
        assertThat(figure("inlay_queue_seconds_count", SMALL)).isEqualTo(queue + 1);
        assertThat(figure("inlay_answer_seconds_count", SMALL)).isEqualTo(whole + 1);
        assertThat(figure("inlay_step_generations_count", SMALL)).isEqualTo(steps + 9);
        assertThat(lines()).anyMatch(line -> line.startsWith("inlay_time_to_first_token_seconds_bucket{") && line.contains("le=\"0.1\""));
        assertThat(figure("inlay_requests_running", SMALL)).isZero();
        assertThat(figure("inlay_kv_pages", SMALL, "state=\"total\"")).isPositive();
        assertThat(lines()).anyMatch(line -> line.startsWith("inlay_tuning_jobs{state=\"failed\"}"))
                .anyMatch(line -> line.startsWith("inlay_tuning_steps_total"));
    }

    @Test
    void a_gateways_endpoint_picker_finds_what_it_reads_and_no_name_of_a_tenant_is_shown() {
        String of = "model_name=\"small\"";
        assertThat(lines()).contains("vllm:num_requests_waiting{" + of + "} 0.0", "vllm:num_requests_running{" + of + "} 0.0")
                .anyMatch(line -> line.startsWith("vllm:kv_cache_usage_perc{" + of))
                .anyMatch(line -> line.startsWith("vllm:cache_config_info{" + of + ",block_size=\"16\",num_gpu_blocks=\""))
                .anyMatch(line -> line.startsWith("vllm:lora_requests_info{" + of + ",max_lora=\"16\",running_lora_adapters=\"\""));
        assertThat(lines()).contains("# TYPE vllm:lora_requests_info gauge").noneMatch(line -> line.contains("alice"));
    }

    @Test
    void the_server_is_alive_and_ready_by_model() {
        JsonPath live = given().get("/q/health/live").then().statusCode(200).extract().jsonPath();
        assertThat(live.getString("checks.find { it.name == 'engines' }.data.small")).isEqualTo("alive");
        JsonPath ready = given().get("/q/health/ready").then().statusCode(200).extract().jsonPath();
        assertThat(ready.getString("checks.find { it.name == 'models' }.data.small")).isEqualTo("ready");
    }
}
