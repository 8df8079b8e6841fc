package io.inlay.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.server.demo.ServerProcess;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.ConnectException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** The packaged server: from its start to its first token, and 16 streams over HTTP beside 16 streams of the engine called directly, in turns. */
final class HttpBench {

    private static final int STREAMS = 16;
    private static final int TOKENS = 64;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path data;
    private final HttpClient http = HttpClient.newHttpClient();
    private final SplittableRandom random = new SplittableRandom(2);
    private ServerProcess server;

    private HttpBench(Path data) {
        this.data = data;
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        int rounds = Integer.parseInt(arguments[0]);
        HttpBench bench = new HttpBench(Files.createTempDirectory("inlay-serving-"));
        List<Double> starts = new ArrayList<>();
        List<Double> overHttp = new ArrayList<>();
        List<Double> direct = new ArrayList<>();
        // The first start computes the checkpoint's fingerprint and is not counted.
        for (int i = 0; i <= 3; i++) {
            double seconds = bench.start();
            if (i > 0) {
                starts.add(seconds);
            }
            if (i < 3) {
                bench.server.close();
            }
        }
        try (PeerProcess engine = ServingBench.engine(BenchModels.llama1b())) {
            for (int round = 0; round <= rounds; round++) {
                double through = bench.streams();
                double called = engine.ask("answers " + STREAMS + " " + TOKENS).get("rate").asDouble();
                System.err.printf(Locale.ROOT, "round %d of %d  over HTTP %.4g, directly %.4g tokens/s%n", round, rounds, through, called);
                if (round > 0) {
                    overHttp.add(through);
                    direct.add(called);
                }
            }
        } finally {
            bench.server.close();
        }
        System.out.printf(Locale.ROOT, "%nfrom the server's start to the first token of a stream: %.2f s (%s)%n16 streams over HTTP: %.4g tokens/s, "
                + "of the engine called directly %.4g%n%n", Figures.median(starts), Figures.spread(starts), Figures.median(overHttp),
                Figures.median(direct));
        Figures.atMost("serving.start-to-first-token-s", Figures.median(starts), 3);
        Figures.atLeast("serving.http-vs-engine", Figures.median(overHttp) / Figures.median(direct), 0.97);
    }

    /** Seconds from the process's start to a first token. */
    private double start() throws IOException, InterruptedException {
        long start = System.nanoTime();
        server = LoadBench.server(data, data.resolve("server.log"));
        while (true) {
            try {
                AtomicLong first = new AtomicLong();
                if (stream(1, () -> first.compareAndSet(0, System.nanoTime())).isPresent()) {
                    return (first.get() - start) / 1e9;
                }
            } catch (ConnectException notYet) {
                server.requireAlive();
            }
            Thread.sleep(20);
        }
    }

    /** Tokens a second of all streams, from the first request to the last answer's end. */
    private double streams() throws InterruptedException {
        List<Thread> clients = new ArrayList<>();
        AtomicInteger tokens = new AtomicInteger();
        long start = System.nanoTime();
        for (int i = 0; i < STREAMS; i++) {
            clients.add(Thread.ofVirtual().start(() -> {
                try {
                    tokens.addAndGet(stream(TOKENS, () -> { }).orElseThrow());
                } catch (IOException | InterruptedException failure) {
                    throw new IllegalStateException(failure);
                }
            }));
        }
        for (Thread each : clients) {
            each.join();
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        if (tokens.get() != STREAMS * TOKENS) {
            throw new IllegalStateException(STREAMS + " streams of " + TOKENS + " tokens gave " + tokens.get() + " in all");
        }
        return tokens.get() / seconds;
    }

    /** How many tokens one streamed completion after 32 prompt tokens says it has; empty when the server does not take it yet. */
    private OptionalInt stream(int tokens, Runnable event) throws IOException, InterruptedException {
        ArrayNode prompt = JSON.createArrayNode();
        synchronized (random) {
            random.ints(32, 5, 128_000).forEach(prompt::add);
        }
        String body = JSON.createObjectNode().put("model", BenchModels.llama1b().getFileName().toString()).put("max_tokens", tokens)
                .put("temperature", 0).put("stream", true)
                .<ObjectNode>set("stream_options", JSON.createObjectNode().put("include_usage", true)).set("prompt", prompt).toString();
        HttpRequest request = HttpRequest.newBuilder(server.address().resolve("/v1/completions")).header("Authorization", "Bearer inlay-demo-key")
                .header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<InputStream> response = http.send(request, HttpResponse.BodyHandlers.ofInputStream());
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8))) {
            if (response.statusCode() != 200) {
                return OptionalInt.empty();
            }
            int counted = 0;
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.startsWith("data: {")) {
                    event.run();
                    counted = JSON.readTree(line.substring(6)).path("usage").path("completion_tokens").asInt(counted);
                }
            }
            return OptionalInt.of(counted);
        }
    }
}
