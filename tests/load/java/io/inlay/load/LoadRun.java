package io.inlay.load;

import io.inlay.model.LlamaModel;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;

/**
 * Load on a server for some time: requests that come when they come, whether those before have been answered or not, beside tuning jobs
 * and versions that are published and deleted. What the server holds is measured, idle, after a first part and at the end.
 */
final class LoadRun {

    private static final int TENANTS = 8;
    private static final int VERSIONS = 3;
    private static final int BURST = 24;
    private static final int BURST_EVERY = 60;
    /** Of the time, for what is allocated once. */
    private static final double FIRST_PART = 0.3;
    private static final Duration PATIENCE = Duration.ofSeconds(150);
    private static final Duration TO_IDLE = Duration.ofSeconds(30);
    private static final long MEBIBYTE = 1 << 20;

    private final Target server;
    private final String base;
    private final double rate;
    private final Ledger ledger = new Ledger();
    private final Traffic traffic;
    private final List<Tenant> tenants;
    private final List<ForcedToken> versions;
    private final String trainingFile;

    /**
     * What came of it.
     *
     * @param faults what must not be; empty for a good server
     */
    record Outcome(String table, Ledger ledger, List<String> faults) {
    }

    /**
     * @param model the server's base model, opened here too: what the deltas are made of
     * @param rate requests a second
     * @param prefix of the tenants' names
     */
    LoadRun(Target server, LlamaModel model, double rate, String prefix) throws Exception {
        this.server = server;
        this.base = model.name();
        this.rate = rate;
        List<ForcedToken> tokens = ForcedToken.some(model, TENANTS + VERSIONS);
        this.tenants = Tenant.some(server, base, tokens.subList(0, TENANTS), prefix);
        this.versions = tokens.subList(TENANTS, TENANTS + VERSIONS);
        this.traffic = new Traffic(server, base, tenants, ledger);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 24; i++) {
            lines.append("{\"prompt\": \"number ").append(i).append(" is\", \"completion\": \" a number\"}\n");
        }
        this.trainingFile = server.upload(tenants.getFirst().key(), "/v1/files", lines.toString().getBytes(StandardCharsets.UTF_8),
                Map.of("purpose", "fine-tune")).path("id").asText();
    }

    Outcome run(Duration time) throws Exception {
        List<String> faults = new ArrayList<>();
        long start = System.nanoTime();
        part(Duration.ofNanos((long) (time.toNanos() * FIRST_PART)), 1);
        Footprint before = idle(faults);
        part(Duration.ofNanos((long) (time.toNanos() * (1 - FIRST_PART))), 2);
        Footprint after = idle(faults);
        double seconds = (System.nanoTime() - start) / 1e9;
        faults.addAll(ledger.violations());
        if (ledger.violated() > ledger.violations().size()) {
            faults.add("and " + (ledger.violated() - ledger.violations().size()) + " violations more");
        }
        if (ledger.open() > 0) {
            faults.add(ledger.open() + " requests never ended");
        }
        // What Java and the allocator keep for later is bounded; what leaks is not, and a longer run shows it against the same bounds.
        grown("heap", before.heap(), after.heap(), 64 * MEBIBYTE, faults);
        grown("native memory", before.nativeBytes(), after.nativeBytes(), 256 * MEBIBYTE, faults);
        grown("file handles", before.files(), after.files(), 32, faults);
        String table = ledger.table() + String.format(Locale.ROOT,
                "%nafter the first part: %s%nat the end:            %s%n%.0f s, %d answered right, "
                + "%d violations, %.0f training steps, %.0f delta loads, %.0f answers put aside meanwhile%n", before, after, seconds,
                ledger.count("answered"), ledger.violated(),
                server.figure("inlay_tuning_steps_total"), server.figure("inlay_deltas_misses_total"),
                server.figure("inlay_sequences_put_aside_total"));
        return new Outcome(table, ledger, faults);
    }

    private static void grown(String what, long before, long after, long allowed, List<String> faults) {
        if (after - before > allowed) {
            faults.add(what + " grew from " + before + " to " + after);
        }
    }

    private void part(Duration time, long seed) throws InterruptedException {
        SplittableRandom random = new SplittableRandom(seed);
        long end = System.nanoTime() + time.toNanos();
        List<Thread> clients = new ArrayList<>();
        clients.add(beside("versions", () -> publishAndDelete(end)));
        clients.add(beside("tuning", () -> tune(end)));
        double at = System.nanoTime();
        while (at < end) {
            at += -Math.log(1 - random.nextDouble()) / rate * 1e9;
            long wait = (long) at - System.nanoTime();
            if (wait > 0) {
                Thread.sleep(Duration.ofNanos(wait));
            }
            // Now and then many come at once.
            for (int i = random.nextInt(BURST_EVERY) == 0 ? BURST : 1; i > 0; i--) {
                SplittableRandom own = random.split();
                clients.add(Thread.ofVirtual().start(() -> traffic.one(own)));
            }
            clients.removeIf(client -> !client.isAlive());
        }
        long patience = System.nanoTime() + PATIENCE.toNanos();
        for (Thread client : clients) {
            client.join(Duration.ofNanos(Math.max(1, patience - System.nanoTime())));
        }
    }

    private Thread beside(String kind, Callable<Void> work) {
        return Thread.ofVirtual().start(() -> {
            try {
                work.call();
            } catch (Exception failure) {
                ledger.sent(kind);
                ledger.violation(kind, failure.toString());
            }
        });
    }

    /** Publishes a version, asks it by number and as its task's latest, while others ask too, and deletes it. */
    private Void publishAndDelete(long end) throws Exception {
        Tenant tenant = tenants.getLast();
        for (int i = 0; System.nanoTime() < end; i++) {
            ForcedToken token = versions.get(i % VERSIONS);
            String version = server.upload(tenant.key(), "/v1/deltas", token.file(), Map.of("task", "churn")).path("id").asText();
            if (!traffic.isThere(tenant, base + ":churn", token) || !traffic.isThere(tenant, version, token)) {
                ledger.sent("versions");
                ledger.violation("versions", version + " was published and is not there");
            }
            Thread asks = Thread.ofVirtual().start(() -> {
                for (int k = 0; k < 5; k++) {
                    traffic.isThere(tenant, version, token);
                }
            });
            server.ask(tenant.key(), "DELETE", "/v1/deltas/" + version, null);
            asks.join();
            if (traffic.isThere(tenant, version, token)) {
                ledger.sent("versions");
                ledger.violation("versions", version + " was deleted and is still there");
            }
        }
        return null;
    }

    /** Job after job; every third is cancelled. */
    private Void tune(long end) throws Exception {
        String key = tenants.getFirst().key();
        for (int i = 1; System.nanoTime() < end; i++) {
            ledger.sent("tuning job");
            String job = server.ask(key, "POST", "/v1/fine_tuning/jobs", Map.of("model", base, "training_file", trainingFile, "suffix",
                    "tuned",
                    "method", Map.of("type", "smt", "smt", Map.of("hyperparameters", Map.of("max_steps", 6, "warm_up_steps", 2,
                    "batch_size", 4,
                            "budget", 0.05, "block_edge", 64))))).path("id").asText();
            boolean cancelled = i % 3 == 0;
            String status = "queued";
            while (status.equals("queued") || status.equals("running")) {
                Thread.sleep(100);
                if (cancelled || System.nanoTime() > end) {
                    cancelled = true;
                    cancel(key, job);
                }
                status = server.ask(key, "GET", "/v1/fine_tuning/jobs/" + job, null).path("status").asText();
            }
            if (status.equals("succeeded") || cancelled && status.equals("cancelled")) {
                ledger.ended("tuning job", status);
            } else {
                ledger.violation("tuning job", job + " " + status);
            }
        }
        return null;
    }

    private void cancel(String key, String job) throws InterruptedException {
        try {
            server.ask(key, "POST", "/v1/fine_tuning/jobs/" + job + "/cancel", null);
        } catch (IOException ended) {
            // It was over already.
        }
    }

    /** Waits until nothing is under way and looks at what is held. */
    private Footprint idle(List<String> faults) throws IOException, InterruptedException {
        long end = System.nanoTime() + TO_IDLE.toNanos();
        Footprint now = Footprint.of(server);
        while ((now.generations() > 0 || now.pagesInUse() > 0) && System.nanoTime() < end) {
            Thread.sleep(200);
            now = Footprint.of(server);
        }
        if (now.generations() > 0 || now.pagesInUse() > 0) {
            faults.add("nobody asks any more, and yet: " + now);
        }
        return now;
    }
}
