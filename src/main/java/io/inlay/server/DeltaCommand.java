package io.inlay.server;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;

/** {@code ./inlay delta ...}: the delta store of a running server, by its REST interface. */
public final class DeltaCommand {

    private static final String BOUNDARY = "----inlay-delta";

    private static final String USAGE = """
            delta takes (INLAY_URL and INLAY_KEY say which server, and who you are):
              list [base:task]                      versions
              show base:task@version                one version: its model card
              diff ONE OTHER                        how two versions differ
              alias base:task NAME [VERSION]        what an alias names, or move it to a version
              rollback base:task NAME               move an alias back
              delete base:task@version
              verify base:task@version              fetch it and hold it to its digest
              export base:task@version FILE         write its file
              import FILE [TASK]                    make a file the task's next version""";

    private final HttpClient http = HttpClient.newHttpClient();
    private final ObjectMapper json = new ObjectMapper();
    private final URI server;
    private final String key;

    public DeltaCommand(URI server, String key) {
        this.server = server;
        this.key = key;
    }

    public static void main(String[] arguments) throws Exception {
        String url = System.getenv().getOrDefault("INLAY_URL", "http://localhost:8080");
        DeltaCommand command = new DeltaCommand(URI.create(url), System.getenv().getOrDefault("INLAY_KEY", "inlay-demo-key"));
        try {
            System.out.println(command.run(arguments));
        } catch (IllegalArgumentException usage) {
            System.err.println(usage.getMessage());
            System.exit(2);
        } catch (IOException failure) {
            System.err.println(failure.getMessage() == null ? "no server answers at " + url + "; start one, or set INLAY_URL" : failure.getMessage());
            System.exit(1);
        }
    }

    /** Returns what is to be printed. */
    public String run(String... arguments) throws IOException, InterruptedException {
        String what = arguments.length == 0 ? "" : arguments[0] + " " + (arguments.length - 1);
        return switch (what) {
            case "list 0" -> list("");
            case "list 1" -> list(arguments[1]);
            case "show 1" -> text(send("GET", "/v1/deltas/" + path(arguments[1]) + "/card", null, null));
            case "diff 2" -> pretty(send("GET", "/v1/deltas/" + path(arguments[1]) + "/diff?with=" + path(arguments[2]), null, null));
            case "alias 2" -> pretty(send("GET", alias(arguments) + "/history", null, null));
            case "alias 3" -> pretty(send("PUT", alias(arguments), "application/json", BodyPublishers.ofString(json.writeValueAsString(
                    Map.of("version", number(arguments[3]))))));
            case "rollback 2" -> pretty(send("POST", alias(arguments) + "/rollback", null, null));
            case "delete 1" -> pretty(send("DELETE", "/v1/deltas/" + path(arguments[1]), null, null));
            case "verify 1" -> verify(arguments[1]);
            case "export 2" -> export(arguments[1], Path.of(arguments[2]));
            case "import 1" -> bring(Path.of(arguments[1]), null);
            case "import 2" -> bring(Path.of(arguments[1]), arguments[2]);
            default -> throw new IllegalArgumentException(USAGE);
        };
    }

    private static String alias(String[] arguments) {
        return "/v1/deltas/" + path(arguments[1]) + "/aliases/" + path(arguments[2]);
    }

    private static int number(String text) {
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException wrong) {
            throw new IllegalArgumentException("'" + text + "' is no version's number", wrong);
        }
    }

    private String list(String task) throws IOException, InterruptedException {
        String[] parts = task.split(":", 2);
        String filter = task.isEmpty() ? "" : "&base=" + path(parts[0]) + (parts.length == 2 ? "&task=" + path(parts[1]) : "");
        StringBuilder lines = new StringBuilder(String.format("%-40s %12s %12s  %s", "version", "bytes", "values", "aliases, tags"));
        String after = "";
        JsonNode page;
        do {
            page = json.readTree(send("GET", "/v1/deltas?limit=100" + filter + after, null, null));
            for (JsonNode each : page.path("data")) {
                lines.append(String.format("%n%-40s %12d %12d  %s %s", each.path("id").asText(), each.path("bytes").asLong(),
                        each.path("values").asLong(), each.path("aliases"), each.path("tags")));
                after = "&after=" + path(each.path("id").asText());
            }
        } while (page.path("has_more").asBoolean());
        return lines.toString();
    }

    private String verify(String version) throws IOException, InterruptedException {
        String expected = json.readTree(send("GET", "/v1/deltas/" + path(version), null, null)).path("delta").path("file_digest").asText();
        String actual = digest(send("GET", "/v1/deltas/" + path(version) + "/content", null, null));
        if (!actual.equals(expected)) {
            throw new IOException(version + " is damaged: its file has digest " + actual + ", it was published with " + expected);
        }
        return version + " is whole: " + actual;
    }

    private static String digest(byte[] bytes) {
        try {
            return "sha256:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }

    private String export(String version, Path file) throws IOException, InterruptedException {
        byte[] bytes = send("GET", "/v1/deltas/" + path(version) + "/content", null, null);
        Files.write(file, bytes);
        return version + " is in " + file + ", " + bytes.length + " bytes";
    }

    private String bring(Path file, String task) throws IOException, InterruptedException {
        String head = (task == null ? "" : "--" + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\n" + task + "\r\n") + "--"
                + BOUNDARY + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"delta.safetensors\"\r\nContent-Type: "
                + "application/octet-stream\r\n\r\n";
        return pretty(send("POST", "/v1/deltas", "multipart/form-data; boundary=" + BOUNDARY, BodyPublishers.concat(
                BodyPublishers.ofString(head), BodyPublishers.ofFile(file), BodyPublishers.ofString("\r\n--" + BOUNDARY + "--\r\n"))));
    }

    private byte[] send(String method, String path, String type, BodyPublisher body) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(server.resolve(path)).header("Authorization", "Bearer " + key)
                .method(method, body == null ? BodyPublishers.noBody() : body);
        if (type != null) {
            request.header("Content-Type", type);
        }
        HttpResponse<byte[]> response = http.send(request.build(), BodyHandlers.ofByteArray());
        if (response.statusCode() >= 300) {
            String message = json.readTree(response.body()).path("error").path("message").asText();
            throw new IOException(message.isEmpty() ? "the server answered with status " + response.statusCode() : message);
        }
        return response.body();
    }

    private String pretty(byte[] body) throws IOException {
        return json.readTree(body).toPrettyString();
    }

    private static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    private static String path(String name) {
        return URLEncoder.encode(name, StandardCharsets.UTF_8);
    }
}
