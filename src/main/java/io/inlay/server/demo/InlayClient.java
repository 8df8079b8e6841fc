package io.inlay.server.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;

/** The part of the REST interface that the demonstration uses, as any client would, over {@code java.net.http}. */
final class InlayClient implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final String BOUNDARY = "----inlay-demonstration";

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(PATIENCE).build();
    private final ObjectMapper json = new ObjectMapper();
    private final URI server;
    private final String key;

    InlayClient(URI server, String key) {
        this.server = server;
        this.key = key;
    }

    boolean isReady() throws InterruptedException {
        try {
            var request = HttpRequest.newBuilder(server.resolve("/q/health/ready")).timeout(Duration.ofSeconds(5)).build();
            return http.send(request, BodyHandlers.discarding()).statusCode() == 200;
        } catch (IOException notYet) {
            return false;
        }
    }

    /** The greedy continuation of a prompt, up to the end of the line. */
    String complete(String model, String prompt, int maxTokens) throws IOException, InterruptedException {
        var body = Map.of("model", model, "prompt", prompt, "max_tokens", maxTokens, "temperature", 0, "stop", "\n");
        return post("/v1/completions", body).path("choices").path(0).path("text").asText();
    }

    /** Uploads a training file and returns its id. */
    String upload(String name, String lines) throws IOException, InterruptedException {
        String form = part("purpose", "", "fine-tune") + part("file", "; filename=\"" + name + "\"", lines) + "--" + BOUNDARY + "--\r\n";
        return send(request("/v1/files").header("Content-Type", "multipart/form-data; boundary=" + BOUNDARY)
                .POST(BodyPublishers.ofString(form))).path("id").asText();
    }

    private static String part(String name, String more, String content) {
        return "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"" + name + "\"" + more + "\r\n\r\n" + content + "\r\n";
    }

    JsonNode get(String path) throws IOException, InterruptedException {
        return send(request(path).GET());
    }

    JsonNode post(String path, Object body) throws IOException, InterruptedException {
        return send(request(path).header("Content-Type", "application/json").POST(json(body)));
    }

    private BodyPublisher json(Object body) throws IOException {
        return BodyPublishers.ofString(json.writeValueAsString(body), StandardCharsets.UTF_8);
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(server.resolve(path)).timeout(PATIENCE).header("Authorization", "Bearer " + key);
    }

    private JsonNode send(HttpRequest.Builder builder) throws IOException, InterruptedException {
        var request = builder.build();
        HttpResponse<String> response = http.send(request, BodyHandlers.ofString());
        if (response.statusCode() / 100 != 2) {
            throw new Problem(Problem.Code.UNAVAILABLE, request.method() + " " + request.uri() + " answered " + response.statusCode() + ": "
                    + response.body());
        }
        return json.readTree(response.body());
    }

    @Override
    public void close() {
        http.close();
    }
}
