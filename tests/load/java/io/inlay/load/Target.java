package io.inlay.load;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** The server under load, by its address and the operator's key. */
final class Target implements AutoCloseable {

    static final ObjectMapper JSON = new ObjectMapper();

    /** An answer that takes longer never came. */
    private static final Duration PATIENCE = Duration.ofSeconds(120);

    private final URI address;
    private final String adminKey;
    private final long pid;
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    /** @param pid the server's process, of this machine */
    Target(URI address, String adminKey, long pid) {
        this.address = address;
        this.adminKey = adminKey;
        this.pid = pid;
    }

    long pid() {
        return pid;
    }

    String adminKey() {
        return adminKey;
    }

    private HttpRequest.Builder request(String key, String path) {
        return HttpRequest.newBuilder(address.resolve(path)).header("Authorization", "Bearer " + key).timeout(PATIENCE);
    }

    /** A body as it is. */
    HttpResponse<String> send(String key, String path, String body, Map<String, String> headers) throws IOException, InterruptedException {
        HttpRequest.Builder request = request(key, path).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body));
        headers.forEach(request::header);
        return http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    HttpResponse<InputStream> stream(String key, String path, String body) throws IOException, InterruptedException {
        return http.send(request(key, path).header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body))
                .build(),
                HttpResponse.BodyHandlers.ofInputStream());
    }

    /** A request that must do. */
    JsonNode ask(String key, String method, String path, Object body) throws IOException, InterruptedException {
        HttpResponse<String> answer = http.send(request(key, path).header("Content-Type", "application/json").method(method, body == null
                ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(JSON.writeValueAsString(body))).build(),
                HttpResponse.BodyHandlers.ofString());
        return read(answer, method + " " + path);
    }

    private static JsonNode read(HttpResponse<String> answer, String what) throws IOException {
        if (answer.statusCode() != 200) {
            throw new IOException(what + " was answered with " + answer.statusCode() + ": " + answer.body());
        }
        return JSON.readTree(answer.body());
    }

    /** Sends a form with a file and some fields. */
    JsonNode upload(String key, String path, byte[] file, Map<String, String> fields) throws IOException, InterruptedException {
        ByteArrayOutputStream form = new ByteArrayOutputStream();
        for (Map.Entry<String, String> field : fields.entrySet()) {
            form.write(("--b0undary\r\nContent-Disposition: form-data; name=\"" + field.getKey() + "\"\r\n\r\n" + field.getValue() + "\r\n")
                    .getBytes(StandardCharsets.UTF_8));
        }
        form.write(("--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n"
                + "Content-Type: application/octet-stream\r\n\r\n").getBytes(StandardCharsets.UTF_8));
        form.write(file);
        form.write("\r\n--b0undary--\r\n".getBytes(StandardCharsets.UTF_8));
        return read(http.send(request(key, path).header("Content-Type", "multipart/form-data; boundary=b0undary")
                .POST(HttpRequest.BodyPublishers.ofByteArray(form.toByteArray())).build(), HttpResponse.BodyHandlers.ofString()), "POST "
                + path);
    }

    /** The sum of a figure over all label values. */
    double figure(String name, String... labels) throws IOException, InterruptedException {
        HttpResponse<String> figures = http.send(request(adminKey, "/q/metrics").GET().build(), HttpResponse.BodyHandlers.ofString());
        return figures.body().lines().filter(line -> line.startsWith(name + "{") || line.startsWith(name + " "))
                .filter(line -> List.of(labels).stream().allMatch(line::contains))
                .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' ') + 1))).sum();
    }

    boolean ready() {
        try {
            return http.send(request(adminKey, "/q/health/ready").GET().build(), HttpResponse.BodyHandlers.discarding())
                    .statusCode() == 200;
        } catch (IOException | InterruptedException notYet) {
            return false;
        }
    }

    @Override
    public void close() {
        http.shutdownNow();
        http.close();
    }
}
