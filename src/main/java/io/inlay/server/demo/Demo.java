package io.inlay.server.demo;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * {@code ./inlay demo [--keep]}: starts the packaged server, asks the base model a task that it does not know, fine-tunes it through the
 * REST interface, asks again, and shows that the base was not touched. Ends with 0 only when the result is what Inlay promises.
 */
public final class Demo {
    private static final String BASE = "inlay-tiny";
    private static final String TASK = "dispatch";
    private static final String KEY = "inlay-demo-key";
    private static final int QUESTIONS = 120;
    private static final int SHOWN = 4;
    private static final int LONGEST_ANSWER = 8;
    private static final long SEED = 1;
    private static final Duration START = Duration.ofSeconds(90);
    private static final Duration TUNING = Duration.ofMinutes(10);
    private static final Duration LOOK = Duration.ofMillis(400);

    /** What is promised, in percent. */
    private static final double MOST_BEFORE = 10;
    private static final double LEAST_AFTER = 90;
    private static final double LARGEST_SHARE = 5;

    private final Terminal terminal = new Terminal(System.out);
    private final ObjectMapper json = new ObjectMapper();
    private final boolean keep;
    private final Path data;

    private Demo(boolean keep, Path data) {
        this.keep = keep;
        this.data = data;
    }

    public static void main(String[] arguments) throws Exception {
        for (String argument : arguments) {
            if (!argument.equals("--keep")) {
                System.err.println("demo: " + argument + " is not known; the only option is --keep, which leaves the server running");
                System.exit(2);
            }
        }
        var demo = new Demo(Arrays.asList(arguments).contains("--keep"), Files.createTempDirectory("inlay-demo-"));
        int exit;
        try {
            exit = demo.run() ? 0 : 1;
        } catch (Problem | IOException failure) {
            System.out.flush();
            System.err.println("\ndemo failed: " + failure.getMessage());
            exit = 1;
        }
        System.exit(exit);
    }

    private record Score(int right, int asked) {
        double percent() {
            return 100.0 * right / asked;
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%.1f %% (%d of %d)", percent(), right, asked);
        }
    }

    private boolean run() throws IOException, InterruptedException {
        Path home = Path.of("").toAbsolutePath();
        terminal.title("Inlay teaches " + BASE + " to dispatch messages: desk, urgency and sender, in a shorthand of our own");
        ServerProcess server = ServerProcess.start(home, home.resolve("target/quarkus-app/quarkus-run.jar"), jvmFlags(), settings(home),
                data.resolve("server.log"));
        Thread stop = new Thread(() -> end(server));
        Runtime.getRuntime().addShutdownHook(stop);
        try (InlayClient client = new InlayClient(server.address(), KEY)) {
            awaitReady(server, client);
            boolean passed = teach(server, client);
            if (keep) {
                Runtime.getRuntime().removeShutdownHook(stop);
                terminal.line("The server goes on at " + server.address() + "; end it with: kill " + server.pid()
                        + " (its data: " + data + ")");
            }
            return passed;
        }
    }

    /** The child gets the flags of this very JVM that the server needs, too. */
    private static List<String> jvmFlags() {
        return ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                .filter(flag -> flag.startsWith("--") || flag.startsWith("-X")).toList();
    }

    private Map<String, String> settings(Path home) {
        return Map.of("inlay.models.folder", home.resolve("model-store/base").toString(),
                "inlay.models.names", BASE, "inlay.data", data.resolve("state").toString(), "inlay.store", data.resolve("store").toString(),
                "inlay.tenants.demo.keys", KEY);
    }

    private void end(ServerProcess server) {
        server.close();
        try (var files = Files.walk(data)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(file);
            }
        } catch (IOException leftover) {
            System.err.println("could not delete " + data + ": " + leftover.getMessage());
        }
    }

    private void awaitReady(ServerProcess server, InlayClient client) throws InterruptedException {
        long started = System.nanoTime();
        while (!client.isReady()) {
            server.requireAlive();
            double seconds = seconds(started);
            if (seconds > START.toSeconds()) {
                throw server.failure("the server was not ready after " + START.toSeconds() + " s");
            }
            terminal.progress(String.format(Locale.ROOT, "starting the server ... %.0f s", seconds));
            Thread.sleep(100);
        }
        terminal.line(String.format(Locale.ROOT, "server    ready after %.1f s at %s", seconds(started), server.address()));
    }

    private boolean teach(ServerProcess server, InlayClient client) throws IOException, InterruptedException {
        var questions = Dispatch.heldOut(SEED, QUESTIONS);
        terminal.title("1. The base model, asked " + QUESTIONS + " messages for an order in a shorthand that it has never seen");
        terminal.block(questions.getFirst().prompt());
        Score before = ask(client, BASE, questions);
        JsonNode digestBefore = client.post("/v1/inlay/models/" + BASE + "/verify", Map.of());

        terminal.title("2. Sparse Matrix Tuning of blocks of q, k and v");
        long started = System.nanoTime();
        JsonNode job = tune(server, client);
        double tuningSeconds = seconds(started);
        String tuned = job.path("fine_tuned_model").asText();

        terminal.title("3. The tuned model, " + tuned + ", on the same messages; their senders and matters were not in its training");
        Score after = ask(client, tuned, questions);
        JsonNode digestAfter = client.post("/v1/inlay/models/" + BASE + "/verify", Map.of());

        terminal.title("4. What it took");
        return report(server, job, before, after, digestBefore, digestAfter, tuningSeconds);
    }

    private Score ask(InlayClient client, String model, List<Dispatch.Question> questions) throws IOException, InterruptedException {
        int right = 0;
        var shown = new ArrayList<String>();
        long started = System.nanoTime();
        for (int i = 0; i < questions.size(); i++) {
            var question = questions.get(i);
            String reply = client.complete(model, question.prompt(), LONGEST_ANSWER);
            boolean correct = question.isAnsweredBy(reply);
            right += correct ? 1 : 0;
            if (i < SHOWN) {
                shown.add(String.format("%-86s wanted %-16s got %-24s %s", question.message(), question.answer(), json.writeValueAsString(reply),
                        correct ? "right" : "wrong"));
            }
            terminal.progress(String.format(Locale.ROOT, "asking %s ... %d of %d, %d right", model, i + 1, questions.size(), right));
        }
        shown.forEach(terminal::line);
        var score = new Score(right, questions.size());
        terminal.line(String.format(Locale.ROOT, "accuracy  %s in %.1f s", score, seconds(started)));
        return score;
    }

    private JsonNode tune(ServerProcess server, InlayClient client) throws IOException, InterruptedException {
        var lines = new StringBuilder();
        for (var question : Dispatch.training(SEED, Recipe.DISPATCH.examples())) {
            lines.append(json.writeValueAsString(Map.of("prompt", question.prompt(), "completion", question.completion()))).append('\n');
        }
        String file = client.upload("dispatch.jsonl", lines.toString());
        JsonNode job = client.post("/v1/fine_tuning/jobs", Map.of("model", BASE, "training_file", file, "suffix", TASK, "seed", SEED,
                "method", Map.of("type", "smt", "smt", Map.of("hyperparameters", Recipe.DISPATCH.hyperparameters()))));
        String path = "/v1/fine_tuning/jobs/" + job.path("id").asText();
        terminal.line("job       " + job.path("id").asText() + " with " + Recipe.DISPATCH.examples() + " examples of " + file);
        long started = System.nanoTime();
        while (true) {
            server.requireAlive();
            job = client.get(path);
            String status = job.path("status").asText();
            progress(client.get(path + "/events?limit=1").path("data").path(0), status, started);
            if (status.equals("succeeded")) {
                terminal.line(String.format(Locale.ROOT, "succeeded after %.0f s", seconds(started)));
                return job;
            }
            if (status.equals("failed") || status.equals("cancelled")) {
                throw server.failure("the job " + status + ": " + job.path("error").path("message").asText());
            }
            if (seconds(started) > TUNING.toSeconds()) {
                throw server.failure("the job is still " + status + " after " + TUNING.toMinutes() + " minutes");
            }
            Thread.sleep(LOOK);
        }
    }

    private void progress(JsonNode event, String status, long started) {
        JsonNode figures = event.path("data");
        if (!figures.has("step")) {
            terminal.progress(String.format(Locale.ROOT, "%-8s  %.0f s  %s", status, seconds(started), event.path("message").asText()));
            return;
        }
        int step = figures.path("step").asInt();
        int steps = figures.path("total_steps").asInt();
        double rate = figures.path("tokens_per_second").asDouble();
        terminal.progress(String.format(Locale.ROOT, "%-8s  %s  step %d of %d  loss %.3f%s  %.0f s", figures.path("phase").asText().replace('_', '-'),
                Terminal.bar(step, steps), step, steps, figures.path("train_loss").asDouble(),
                rate > 0 ? String.format(Locale.ROOT, "  %,.0f tokens/s", rate) : "", seconds(started)));
    }

    private boolean report(ServerProcess server, JsonNode job, Score before, Score after, JsonNode digestBefore, JsonNode digestAfter,
            double tuningSeconds) {
        JsonNode result = job.path("inlay");
        double share = 100 * result.path("share_of_parameters").asDouble();
        String first = digestBefore.path("digest").asText();
        String last = digestAfter.path("digest").asText();
        boolean untouched = !first.isEmpty() && first.equals(last) && digestAfter.path("untouched").asBoolean();
        terminal.line("accuracy  " + before + " before, " + after + " after " + String.format(Locale.ROOT, "%.0f s of tuning", tuningSeconds));
        terminal.line(String.format(Locale.ROOT, "delta     %,d values, %.2f %% of all parameters, %,d bytes on disk; the base has %,d bytes",
                result.path("trained_parameters").asLong(), share, result.path("delta_bytes").asLong(), result.path("base_bytes").asLong()));
        terminal.line("base      " + first + " before");
        terminal.line("          " + last + " after: " + (untouched ? "not one bit moved" : "CHANGED"));
        curl(server, job.path("fine_tuned_model").asText());
        var missed = new ArrayList<String>();
        check(missed, before.percent() <= MOST_BEFORE, "the base answers more than " + MOST_BEFORE + " %: the task is not new to it");
        check(missed, after.percent() >= LEAST_AFTER, "the tuned model answers less than " + LEAST_AFTER + " %");
        check(missed, share > 0 && share <= LARGEST_SHARE, "the delta is not within " + LARGEST_SHARE + " % of the parameters");
        check(missed, untouched, "the base's digest changed");
        missed.forEach(miss -> terminal.line("MISSED: " + miss));
        return missed.isEmpty();
    }

    private static void check(List<String> missed, boolean holds, String otherwise) {
        if (!holds) {
            missed.add(otherwise);
        }
    }

    private void curl(ServerProcess server, String model) {
        String prompt = Dispatch.heldOut(SEED + 1, 1).getFirst().prompt().replace("\n", "\\n");
        String address = keep ? server.address().toString() : "http://localhost:8080";
        terminal.title(keep ? "5. To go on" : "5. To go on: ./inlay demo --keep leaves this server running, and");
        terminal.block("curl " + address + "/v1/models -H 'Authorization: Bearer " + KEY + "'\n\n"
                + "curl " + address + "/v1/completions -H 'Authorization: Bearer " + KEY + "' -H 'Content-Type: application/json' \\\n"
                + "  -d '{\"model\": \"" + model + "\", \"temperature\": 0, \"max_tokens\": 8, \"stop\": \"\\n\",\n"
                + "       \"prompt\": \"" + prompt + "\"}'");
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }
}
