package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.server.demo.ServerProcess;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@code ./inlay bench load}: the packaged server with a checkpoint of Llama-3.2-1B's dimensions (random weights; the embedded model's
 * tokenizer, so ids stay below 2048). Loads it twice, then serves and fine-tunes over REST, and reads the process's peak memory.
 */
final class LoadBench {

    private static final Pattern READY = Pattern.compile("is ready after (\\d+) ms");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int EXAMPLES = 16;
    private static final int STEPS = 3;

    private final HttpClient http = HttpClient.newHttpClient();
    private final ServerProcess server;
    private final Path log;

    private LoadBench(Path data, int start) throws IOException {
        log = data.resolve("server-" + start + ".log");
        server = server(data, log);
    }

    /** The packaged server with that checkpoint. */
    static ServerProcess server(Path data, Path log) throws IOException {
        Path home = Path.of("").toAbsolutePath();
        Path model = BenchModels.llama1b();
        return ServerProcess.start(home, home.resolve("target/quarkus-app/quarkus-run.jar"), ServerProcess.neededFlags(), Map.of(
                "inlay.models.folder", model.getParent().toString(), "inlay.models.names", model.getFileName().toString(), "inlay.data",
                data.toString(), "inlay.store", data.resolve("store").toString()), log);
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Path data = Files.createTempDirectory("inlay-load-");
        double first = new LoadBench(data, 1).loadOnly();
        LoadBench again = new LoadBench(data, 2);
        double second = again.awaitReady();
        double[] rest = again.use();
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"Llama-3.2-1B's shape, 2.5 GB of bf16", ""});
        rows.add(new String[] {"first load, fingerprint computed, s", shown(first)});
        rows.add(new String[] {"load after that, s", shown(second)});
        rows.add(new String[] {"64 tokens after a prompt of some 100, s", shown(rest[0])});
        rows.add(new String[] {"SMT step of 4 sequences, s", shown(rest[1])});
        rows.add(new String[] {"peak resident memory, GiB", shown(rest[2])});
        System.out.println();
        Figures.table(rows);
        System.out.println();
        Figures.atMost("load.seconds-after-first", second, 3);
        Figures.atMost("load.serve-and-tune-rss-gib", rest[2], 12);
    }

    private static String shown(double value) {
        return String.format(Locale.ROOT, "%.2f", value);
    }

    private double loadOnly() throws IOException, InterruptedException {
        try {
            return awaitReady();
        } finally {
            server.close();
        }
    }

    /** Seconds that the model took to load, as the server's log says. */
    private double awaitReady() throws IOException, InterruptedException {
        for (int i = 0; i < 1200; i++) {
            Matcher ready = READY.matcher(Files.readString(log));
            if (ready.find()) {
                Thread.sleep(500);
                return Long.parseLong(ready.group(1)) / 1000.0;
            }
            server.requireAlive();
            Thread.sleep(100);
        }
        throw new IOException("the server was not ready within two minutes; see " + log);
    }

    /** Seconds of a completion, seconds of a training step, peak memory in GiB. */
    private double[] use() throws IOException, InterruptedException {
        try {
            String model = BenchModels.llama1b().getFileName().toString();
            String prompt = words(new SplittableRandom(3), 60);
            long start = System.nanoTime();
            send(post("/v1/completions", JSON.createObjectNode().put("model", model).put("prompt", prompt).put("max_tokens", 64)
                    .put("temperature", 0)));
            double completion = (System.nanoTime() - start) / 1e9;
            JsonNode file = send(upload());
            var request = JSON.createObjectNode().put("model", model).put("training_file", file.get("id").asText()).put("suffix", "bench");
            request.putObject("method").put("type", "smt").putObject("smt").putObject("hyperparameters").put("max_steps", STEPS)
                    .put("batch_size", 4).put("warm_up_steps", 1).put("block_edge", 256);
            String job = send(post("/v1/fine_tuning/jobs", request)).get("id").asText();
            double step = awaitJob(job);
            send(post("/v1/completions", JSON.createObjectNode().put("model", model + ":bench").put("prompt", prompt).put("max_tokens", 8)
                    .put("temperature", 0)));
            return new double[] {completion, step, peak() / (double) (1L << 30)};
        } finally {
            server.close();
        }
    }

    private double awaitJob(String job) throws IOException, InterruptedException {
        while (true) {
            String status = send(get("/v1/fine_tuning/jobs/" + job)).get("status").asText();
            if (status.equals("failed") || status.equals("cancelled")) {
                throw new IOException("the job " + status + "; see " + log);
            }
            if (status.equals("succeeded")) {
                List<Double> seconds = new ArrayList<>();
                for (JsonNode event : send(get("/v1/fine_tuning/jobs/" + job + "/events?limit=100")).get("data")) {
                    if (event.path("data").path("phase").asText().equals("training")) {
                        seconds.add(event.get("data").get("seconds").asDouble());
                    }
                }
                return Figures.median(seconds);
            }
            Thread.sleep(500);
        }
    }

    private HttpRequest upload() {
        SplittableRandom random = new SplittableRandom(5);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < EXAMPLES; i++) {
            lines.append("{\"prompt\": \"").append(words(random, 40)).append("\", \"completion\": \"").append(words(random, 50)).append("\"}\n");
        }
        String boundary = "inlay-load";
        String form = "--" + boundary + "\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--" + boundary
                + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench.jsonl\"\r\n\r\n" + lines + "\r\n--" + boundary + "--\r\n";
        return request("/v1/files").header("Content-Type", "multipart/form-data; boundary=" + boundary)
                .POST(HttpRequest.BodyPublishers.ofString(form)).build();
    }

    private static String words(SplittableRandom random, int count) {
        StringBuilder text = new StringBuilder("The");
        for (int i = 0; i < count; i++) {
            text.append(' ').append(Integer.toString(random.nextInt(1000, 46000), 36));
        }
        return text.toString();
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(server.address().resolve(path)).header("Authorization", "Bearer inlay-demo-key");
    }

    private HttpRequest get(String path) {
        return request(path).GET().build();
    }

    private HttpRequest post(String path, JsonNode body) {
        return request(path).header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
    }

    private JsonNode send(HttpRequest request) throws IOException, InterruptedException {
        HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() / 100 != 2) {
            throw new IOException(request.uri() + " answered " + response.statusCode() + ": " + response.body());
        }
        return JSON.readTree(response.body());
    }

    private long peak() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc", Long.toString(server.pid()), "status"))) {
            if (line.startsWith("VmHWM")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        throw new IOException("the process tells no peak memory; this benchmark needs Linux");
    }
}
