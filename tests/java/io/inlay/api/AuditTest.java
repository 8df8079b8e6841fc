package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static io.inlay.api.Api.with;
import static io.restassured.RestAssured.given;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import org.eclipse.microprofile.config.inject.ConfigProperty;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class AuditTest {

    @ConfigProperty(name = "inlay.data")
    Path data;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    /** The log's lines of one request. */
    private List<JsonNode> lines(Response of) throws IOException {
        ObjectMapper json = new ObjectMapper();
        List<JsonNode> all = new java.util.ArrayList<>();
        for (String line : Files.readAllLines(data.resolve("audit/audit.jsonl"))) {
            all.add(json.readTree(line));
        }
        return all.stream().filter(line -> line.path("request").asText().equals(of.header("x-request-id"))).toList();
    }

    @Test
    void a_change_is_in_the_log_before_it_is_answered_with_who_and_what_and_how_it_ended() throws IOException {
        Response uploaded = Api.tryUpload(alice(), "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
        List<JsonNode> lines = lines(uploaded);
        assertThat(lines).hasSize(1);
        JsonNode line = lines.getFirst();
        assertThat(Instant.parse(line.path("time").asText())).isBetween(Instant.now().minusSeconds(60), Instant.now());
        assertThat(line.path("key").asText()).isEqualTo("configured:alice:1");
        assertThat(line.path("role").asText()).isEqualTo("owner");
        assertThat(line.path("tenant").asText()).isEqualTo("alice");
        assertThat(line.path("change").asText()).isEqualTo("file.upload");
        assertThat(line.path("object").asText()).isEqualTo(uploaded.jsonPath().getString("id")).startsWith("file-");
        assertThat(line.path("outcome").asText()).isEqualTo("done");
        assertThat(line.path("status").asInt()).isEqualTo(200);
    }

    @Test
    void what_was_denied_or_refused_is_in_the_log_too() throws IOException {
        Response made = json(admin(), Map.of("tenant", "alice", "role", "reader")).post("/v1/admin/keys");
        assertThat(lines(made).getFirst().path("object").asText()).isEqualTo(made.jsonPath().getString("id"));
        assertThat(lines(made).getFirst().path("tenant").isNull()).isTrue();
        JsonNode denied = lines(with(made.jsonPath().getString("key")).delete("/v1/files/file-x")).getFirst();
        assertThat(denied.path("outcome").asText()).isEqualTo("denied");
        assertThat(denied.path("key").asText()).isEqualTo(made.jsonPath().getString("id"));
        assertThat(denied.path("object").asText()).isEqualTo("file-x");
        JsonNode refused = lines(alice().delete("/v1/files/file-x")).getFirst();
        assertThat(refused.path("outcome").asText()).isEqualTo("refused");
        assertThat(refused.path("status").asInt()).isEqualTo(404);
        JsonNode malformed = lines(json(alice(), "{").post("/v1/fine_tuning/jobs")).getFirst();
        assertThat(malformed.path("change").asText()).isEqualTo("job.create");
        assertThat(malformed.path("status").asInt()).isEqualTo(400);
    }

    @Test
    void looking_and_generating_and_knocking_without_a_key_leave_no_line() throws IOException {
        assertThat(lines(alice().get("/v1/files"))).isEmpty();
        assertThat(lines(json(alice(), Map.of("model", "small", "prompt", "sky", "max_tokens", 1)).post("/v1/completions"))).isEmpty();
        assertThat(lines(given().delete("/v1/files/file-x"))).isEmpty();
    }

    @Test
    void a_failure_of_the_server_is_logged_with_the_id_of_its_request() {
        try (HeardLog log = new HeardLog(Level.INFO)) {
            Response failed = json(alice().header("x-request-id", "trace-77"), Map.of("model", "poisoned", "prompt", "sky", "max_tokens",
                    2))
                    .post("/v1/completions");
            assertThat(failed.statusCode()).as(failed.asString()).isEqualTo(500);
            assertThat(failed.header("x-request-id")).isEqualTo("trace-77");
            assertThat(log.lines()).anyMatch(line -> line.startsWith("request trace-77: model poisoned gave NaN"));
        }
    }

    @Test
    void every_response_names_its_request_by_the_clients_id_where_that_is_sane() {
        assertThat(alice().header("x-request-id", "deploy-7.a_b").get("/v1/models").header("x-request-id")).isEqualTo("deploy-7.a_b");
        assertThat(given().header("x-request-id", "mine").get("/v1/nothing").header("x-request-id")).isEqualTo("mine");
        for (String theirs : List.of("", "a b", "x\"}{", "é", "a".repeat(129))) {
            assertThat(alice().header("x-request-id", theirs).get("/v1/nothing").header("x-request-id")).matches("req-[0-9a-f]{32}");
        }
        assertThat(given().get("/q/health/live").header("x-request-id")).matches("req-[0-9a-f]{32}");
        assertThat(alice().get("/v1/models").header("x-request-id")).isNotEqualTo(alice().get("/v1/models").header("x-request-id"));
    }
}
