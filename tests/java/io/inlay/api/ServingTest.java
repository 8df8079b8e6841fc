package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static io.restassured.RestAssured.given;
import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.TestServer;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import io.quarkus.test.junit.QuarkusTestProfile;
import io.quarkus.test.junit.TestProfile;
import io.restassured.path.json.JsonPath;
import io.restassured.response.Response;
import jakarta.inject.Inject;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A server with limits, pins, traces and a log of JSON lines. */
@QuarkusTest
@QuarkusTestResource(TestServer.class)
@TestProfile(ServingTest.Settings.class)
class ServingTest {

    private static final Path LOG = Path.of("target/serving-test.log");
    private static final int TOKENS_PER_MINUTE = 3000;
    private static final ObjectMapper JSON = new ObjectMapper();

    @TestHTTPResource("/")
    URI server;

    @Inject
    HeardSpans spans;

    public static final class Settings implements QuarkusTestProfile {

        @Override
        public Map<String, String> getConfigOverrides() {
            return Map.of("inlay.limits.generations", "2", "inlay.limits.tokens-per-minute", Integer.toString(TOKENS_PER_MINUTE),
                    "inlay.deltas.pinned", "alice/small:pinned", "inlay.deltas.merged", "alice/small:merged@best",
                    "inlay.metrics.tenants", "true", "inlay.log.json", "true", "quarkus.log.file.enabled", "true",
                    "quarkus.log.file.path", LOG.toString(), "quarkus.otel.sdk.disabled", "false", "quarkus.otel.exporter.otlp.enabled",
                    "false");
        }
    }

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    /** A new tenant's key. */
    private static String tenant(String name) {
        json(admin(), Map.of("name", name)).post("/v1/admin/tenants");
        return Api.newKey(name, "owner");
    }

    /** So hot that it hardly ever ends by itself. */
    private static Map<String, Object> hot(int tokens) {
        return Map.of("model", "inlay-tiny", "prompt", "Once", "max_tokens", tokens, "temperature", 3);
    }

    private HttpRequest request(String key, Map<String, Object> body) throws IOException {
        return HttpRequest.newBuilder(server.resolve("v1/completions")).header("Authorization", "Bearer " + key)
                .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(body)))
                .build();
    }

    @Test
    void a_tenant_has_as_many_answers_under_way_as_it_may() throws IOException {
        HttpRequest request = request(tenant("crowd"), hot(100));
        List<HttpResponse<String>> refused = new ArrayList<>();
        try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            for (int round = 0; round < 5 && refused.isEmpty(); round++) {
                IntStream.range(0, 12).mapToObj(_ -> client.sendAsync(request, HttpResponse.BodyHandlers.ofString())).toList().stream()
                        .map(CompletableFuture::join).filter(answer -> answer.statusCode() != 200).forEach(refused::add);
            }
        }
        assertThat(refused).isNotEmpty().allSatisfy(answer -> {
            assertThat(answer.statusCode()).isEqualTo(429);
            assertThat(answer.headers().firstValue("Retry-After")).hasValue("1");
            assertThat(answer.body()).contains("\"rate_limit_exceeded\"", "tenant crowd has 2 answers under way",
                    "inlay.limits.generations");
        });
    }

    @Test
    void a_tenant_that_has_used_its_tokens_is_told_when_there_are_more() {
        String key = tenant("spender");
        Response answer = null;
        for (int i = 0; i < 50 && (answer == null || answer.statusCode() == 200); i++) {
            answer = json(Api.with(key), hot(480)).post("/v1/completions");
        }
        assertThat(answer.statusCode()).isEqualTo(429);
        assertThat(Integer.parseInt(answer.header("Retry-After"))).isBetween(1, 60);
        assertThat(Api.error(answer, "message"))
                .startsWith("tenant spender uses more than 3000 tokens a minute (inlay.limits.tokens-per-minute)");
    }

    @Test
    void an_answer_that_is_not_there_by_its_deadline_is_a_clear_error_whole_and_streamed() {
        String key = tenant("hurried");
        Response late = null;
        for (int i = 0; i < 10 && (late == null || late.statusCode() == 200); i++) {
            late = json(Api.with(key), hot(480)).header("Inlay-Deadline", "0.02").post("/v1/completions");
        }
        assertThat(late.statusCode()).as(late.asString()).isEqualTo(504);
        assertThat(Api.error(late, "code")).isEqualTo("deadline_exceeded");
        assertThat(Api.error(late, "type")).isEqualTo("timeout_error");
        assertThat(Api.error(late, "message"))
                .startsWith("the answer was not there within 0.020 s, the least of the header Inlay-Deadline and "
                + "inlay.generation.deadline-seconds: ");
        Map<String, Object> streamed = new HashMap<>(hot(480));
        streamed.put("stream", true);
        String events = "";
        for (int i = 0; i < 10 && !events.contains("deadline_exceeded"); i++) {
            events = json(Api.with(key), streamed).header("Inlay-Deadline", "0.05").post("/v1/completions").asString();
        }
        assertThat(events).contains("\"code\":\"deadline_exceeded\"").endsWith("data: [DONE]\n\n");
        Response refused = json(Api.with(key), hot(4)).header("Inlay-Deadline", "soon").post("/v1/completions");
        assertThat(refused.statusCode()).isEqualTo(400);
        assertThat(Api.error(refused, "message"))
                .isEqualTo("the header Inlay-Deadline is no number of seconds over 0; send 2.5, for example");
    }

    private static void tune(String task) {
        String id = Api.tryTune(alice(), Map.of("model", "small", "training_file", Api.upload(alice(), FineTuningTest.DATA), "suffix", task,
                "method", Api.smt(Map.of("max_steps", 1, "warm_up_steps", 1, "budget", 0.1, "block_edge", 16)))).then().statusCode(200)
                .extract().path("id");
        assertThat(Api.awaitEnd(Api::alice, id).getString("status")).isEqualTo("succeeded");
    }

    private static JsonPath residency(String delta) {
        return alice().get("/v1/deltas/" + delta + "/residency").then().statusCode(200).extract().jsonPath();
    }

    @Test
    void a_version_is_loaded_when_asked_for_and_no_other_tenants() {
        tune("loaded");
        assertThat(residency("small:loaded").getString("state")).isEqualTo("absent");
        JsonPath loaded = alice().post("/v1/deltas/small:loaded/preload").then().statusCode(200).extract().jsonPath();
        assertThat(loaded.getString("id")).isEqualTo("small:loaded@1");
        assertThat(loaded.getString("object")).isEqualTo("delta.residency");
        assertThat(loaded.getString("state")).isEqualTo("resident");
        assertThat(loaded.getString("mode")).isEqualTo("tiled");
        assertThat(loaded.getBoolean("pinned")).isFalse();
        assertThat(loaded.getLong("bytes")).isPositive();
        assertThat(residency("small:loaded@1").getString("state")).isEqualTo("resident");
        assertThat(Api.bob().post("/v1/deltas/small:loaded/preload").statusCode()).isEqualTo(404);
        assertThat(alice().post("/v1/deltas/small/preload").then().statusCode(404).extract().asString())
                .contains("'small' is a base model");
    }

    @Test
    void what_the_settings_pin_and_merge_is_in_memory_once_it_is_there() {
        tune("pinned");
        tune("merged");
        json(alice(), Map.of("version", 1)).put("/v1/deltas/small:merged/aliases/best").then().statusCode(200);
        await().atMost(Duration.ofSeconds(60)).until(() -> residency("small:pinned").getBoolean("pinned")
                && residency("small:merged").getBoolean("pinned"));
        assertThat(residency("small:pinned").getString("mode")).isEqualTo("tiled");
        assertThat(residency("small:merged").getString("mode")).isEqualTo("merged");
        assertThat(residency("small:merged").getLong("bytes")).isGreaterThan(residency("small:pinned").getLong("bytes"));
        assertThat(json(alice(), Map.of("model", "small:merged", "prompt", "sky is", "max_tokens", 2)).post("/v1/completions").statusCode())
                .isEqualTo(200);
    }

    @Test
    void an_answer_has_a_span_with_its_phases_under_its_requests_span() {
        tune("traced");
        String trace = "0af7651916cd43dd8448eb211c80319c";
        json(alice(), Map.of("model", "small:traced", "prompt", "sky is", "max_tokens", 3)).header("traceparent",
                "00-" + trace + "-b7ad6b7169203331-01").post("/v1/completions").then().statusCode(200);
        await().atMost(Duration.ofSeconds(30)).until(() -> spans.of(trace).stream().anyMatch(span -> span.getName().equals("generate")));
        Map<String, SpanData> named = spans.of(trace).stream().collect(Collectors.toMap(SpanData::getName, span -> span));
        assertThat(named).containsKeys("generate", "queue", "load delta", "prefill", "decode");
        SpanData whole = named.get("generate");
        assertThat(spans.of(trace)).anySatisfy(span -> assertThat(span.getSpanId()).isEqualTo(whole.getParentSpanId()));
        Stream.of("queue", "load delta", "prefill", "decode").map(named::get).forEach(part -> {
            assertThat(part.getParentSpanId()).isEqualTo(whole.getSpanId());
            assertThat(part.getStartEpochNanos()).isBetween(whole.getStartEpochNanos(), part.getEndEpochNanos());
            assertThat(part.getEndEpochNanos()).isLessThanOrEqualTo(whole.getEndEpochNanos());
        });
        assertThat(whole.getAttributes().asMap().toString()).contains("small:traced@1", "gen_ai.usage.output_tokens=3", "[length]",
                "alice");
    }

    @Test
    void every_request_is_a_line_of_json_with_what_came_of_it() throws IOException {
        json(alice(), Map.of("model", "small", "prompt", "the sky of which no log tells", "max_tokens", 3, "temperature", 0))
                .header("x-request-id",
                "logged-1").post("/v1/completions").then().statusCode(200);
        given().header("x-request-id", "logged-2").get("/v1/models").then().statusCode(401);
        JsonNode answered = line("logged-1");
        assertThat(answered.path("loggerName").asText()).isEqualTo("inlay.access");
        JsonNode fields = answered.path("mdc");
        assertThat(fields.path("tenant").asText()).isEqualTo("alice");
        assertThat(fields.path("model").asText()).isEqualTo("small");
        assertThat(fields.path("route").asText()).isEqualTo("/v1/completions");
        assertThat(fields.path("status").asText()).isEqualTo("200");
        assertThat(fields.path("completion_tokens").asText()).isEqualTo("3");
        assertThat(fields.path("finish_reason").asText()).isEqualTo("length");
        assertThat(Double.parseDouble(fields.path("seconds").asText())).isBetween(0.0, 60.0);
        assertThat(line("logged-2").path("mdc").path("status").asText()).isEqualTo("401");
        assertThat(Files.readString(LOG)).doesNotContain("of which no log tells").doesNotContain(TestServer.ALICE);
    }

    private static JsonNode line(String request) throws IOException {
        List<JsonNode> found = new ArrayList<>();
        await().atMost(Duration.ofSeconds(30)).until(() -> {
            found.clear();
            for (String each : Files.readAllLines(LOG)) {
                JsonNode line = JSON.readTree(each);
                if (line.path("mdc").path("request").asText().equals(request)) {
                    found.add(line);
                }
            }
            return !found.isEmpty();
        });
        assertThat(found).hasSize(1);
        return found.getFirst();
    }

    @Test
    void figures_name_tenants_and_deltas_where_that_is_asked_for() {
        json(alice(), Map.of("model", "small", "prompt", "a", "max_tokens", 2)).post("/v1/completions").then().statusCode(200);
        assertThat(given().get("/q/metrics").asString()).contains("inlay_answer_seconds_count{model=\"small\",tenant=\"alice\"");
    }
}
