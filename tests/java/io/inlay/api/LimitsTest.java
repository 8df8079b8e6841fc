package io.inlay.api;

import static io.inlay.api.Api.admin;
import static io.inlay.api.Api.alice;
import static io.inlay.api.Api.json;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.TestServer;
import io.quarkus.test.common.QuarkusTestResource;
import io.quarkus.test.common.http.TestHTTPResource;
import io.quarkus.test.junit.QuarkusTest;
import io.restassured.response.Response;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@QuarkusTest
@QuarkusTestResource(TestServer.class)
class LimitsTest {

    private static final int JSON_BYTES = 8_388_608;

    @TestHTTPResource("/")
    URI server;

    @BeforeEach
    void ready() {
        Api.awaitReady();
    }

    private static String prompt(int bytes) {
        return "{\"model\": \"small\", \"prompt\": \"" + "x".repeat(bytes) + "\"}";
    }

    /** Not by REST Assured, which formats what it sends. */
    private HttpResponse<String> post(String path, HttpRequest.BodyPublisher body) throws IOException, InterruptedException {
        return post(path, "application/json", body);
    }

    private HttpResponse<String> post(String path, String type, HttpRequest.BodyPublisher body) throws IOException, InterruptedException {
        try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            return client.send(request(TestServer.ALICE, path).header("Content-Type", type).POST(body).build(),
                    HttpResponse.BodyHandlers.ofString());
        }
    }

    @Test
    void a_body_over_the_limit_is_refused_by_its_length() throws IOException, InterruptedException {
        HttpResponse<String> answer = post("v1/completions", HttpRequest.BodyPublishers.ofString(prompt(JSON_BYTES)));
        assertThat(answer.statusCode()).isEqualTo(413);
        assertThat(answer.body()).contains("\"code\":\"payload_too_large\"",
                "the body is over the limit of 8388608 bytes; send less, or raise inlay.limits.json-bytes");
    }

    @Test
    void a_body_that_does_not_tell_its_length_is_refused_once_it_is_too_long() throws IOException, InterruptedException {
        byte[] body = prompt(JSON_BYTES).getBytes(StandardCharsets.UTF_8);
        HttpResponse<String> answer = post("v1/completions",
                HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)));
        assertThat(answer.statusCode()).as(answer.body()).isEqualTo(413);
        assertThat(answer.body()).contains("inlay.limits.json-bytes");
    }

    private HttpRequest.Builder request(String key, String path) {
        return HttpRequest.newBuilder(server.resolve(path)).header("Authorization", "Bearer " + key);
    }

    @Test
    void an_upload_over_the_limit_is_refused_by_its_length() throws IOException, InterruptedException {
        String form = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--b\r\nContent-Disposition: "
                + "form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n" + "x".repeat(2 * TestServer.MAX_FILE) + "\r\n--b--\r\n";
        HttpResponse<String> answer = post("v1/files", "multipart/form-data; boundary=b", HttpRequest.BodyPublishers.ofString(form));
        assertThat(answer.statusCode()).isEqualTo(413);
        assertThat(answer.body()).contains("the upload is over the limit of 200000 bytes; split it, or raise inlay.files.max-bytes");
    }

    @Test
    void json_deeper_than_the_limit_is_refused() throws IOException, InterruptedException {
        for (String path : List.of("v1/completions", "v1/fine_tuning/jobs")) {
            String field = path.endsWith("jobs") ? "hyperparameters" : "prompt";
            HttpResponse<String> answer = post(path, HttpRequest.BodyPublishers.ofString("{\"" + field + "\": " + "[".repeat(100_000)
                    + "]".repeat(100_000) + "}"));
            assertThat(answer.statusCode()).as(answer.body()).isEqualTo(400);
            assertThat(answer.body()).contains("the body's JSON is nested too deeply", "inlay.limits.json-depth");
            HttpResponse<String> allowed = post(path, HttpRequest.BodyPublishers.ofString("{\"" + field + "\": " + "[".repeat(60)
                    + "]".repeat(60) + "}"));
            assertThat(allowed.statusCode()).isEqualTo(400);
            assertThat(allowed.body()).doesNotContain("nested");
        }
    }

    @Test
    void a_conversation_of_too_many_messages_or_parts_is_refused() {
        List<Map<String, Object>> messages = IntStream.range(0, 4097).<Map<String, Object>>mapToObj(_ -> Map.of("role", "user", "content",
                "a")).toList();
        Response answer = json(alice(), Map.of("model", "inlay-tiny", "messages", messages)).post("/v1/chat/completions");
        assertThat(answer.statusCode()).isEqualTo(400);
        assertThat(Api.error(answer, "message")).isEqualTo("messages has 4097 items; at most 4096 are taken (inlay.limits.list-items)");
        List<Map<String, Object>> parts = IntStream.range(0, 4097).<Map<String, Object>>mapToObj(_ -> Map.of("type", "text", "text",
                "a")).toList();
        Response longer = json(alice(), Map.of("model", "inlay-tiny", "messages", List.of(Map.of("role", "user", "content", parts))))
                .post("/v1/chat/completions");
        assertThat(Api.error(longer, "message")).isEqualTo("messages[0].content has 4097 items; at most 4096 are taken "
                + "(inlay.limits.list-items)");
    }

    @Test
    void a_tenant_that_sends_too_much_is_told_when_to_come_again_and_others_are_not_held_up() {
        json(admin(), Map.of("name", "flood")).post("/v1/admin/tenants");
        String key = Api.newKey("flood", "owner");
        List<HttpResponse<String>> refused = new ArrayList<>();
        try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()) {
            long end = System.nanoTime() + 60_000_000_000L;
            while (refused.isEmpty() && System.nanoTime() < end) {
                List<CompletableFuture<HttpResponse<String>>> some = IntStream.range(0, 100).mapToObj(_ -> client.sendAsync(
                        request(key, "v1/nothing").GET().build(), HttpResponse.BodyHandlers.ofString())).toList();
                some.stream().map(CompletableFuture::join).filter(answer -> answer.statusCode() != 404).forEach(refused::add);
            }
        }
        assertThat(refused).isNotEmpty().allSatisfy(answer -> {
            assertThat(answer.statusCode()).isEqualTo(429);
            assertThat(answer.headers().firstValue("Retry-After")).hasValue("1");
            assertThat(answer.headers().firstValueAsLong("retry-after-ms").orElseThrow()).isBetween(1L, 1000L);
            assertThat(answer.body()).contains("\"code\":\"rate_limit_exceeded\"", "\"type\":\"rate_limit_error\"",
                    "tenant flood sends more than 100.0 requests a second (inlay.limits.requests-per-second); try again in 1 s");
        });
        assertThat(alice().get("/v1/models").statusCode()).isEqualTo(200);
    }
}
