package io.inlay.load;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/** One request of each kind, checked. Each says to the ledger that it was sent, and how it ended. */
final class Traffic {

    private static final int TOKENS = 24;
    private static final int LONG = 200;
    /** Over {@code inlay.limits.json-bytes}. */
    private static final int OVERSIZED = 9_000_000;
    private static final List<String> WORDS = List.of("once", "the", "sky", "is", "blue", "and", "who", "asks", "for", "more", "rain");

    private final Target server;
    private final String base;
    private final List<Tenant> tenants;
    private final Ledger ledger;
    private final String referencePrompt;
    private final String reference;

    /** Asks the base once for what it must say whenever it is asked the same again. */
    Traffic(Target server, String base, List<Tenant> tenants, Ledger ledger) throws IOException, InterruptedException {
        this.server = server;
        this.base = base;
        this.tenants = tenants;
        this.ledger = ledger;
        this.referencePrompt = "Once upon a time";
        this.reference = server.ask(tenants.getFirst().key(), "POST", "/v1/completions", body(base, referencePrompt, TOKENS, false))
                .path("choices").path(0).path("text").asText();
    }

    private static ObjectNode body(String model, String prompt, int tokens, boolean stream) {
        return Target.JSON.createObjectNode().put("model", model).put("prompt", prompt).put("max_tokens", tokens).put("temperature", 0)
                .put("stream", stream);
    }

    private static String prompt(SplittableRandom random) {
        StringBuilder prompt = new StringBuilder();
        int words = 1 + random.nextInt(random.nextInt(4) == 0 ? 80 : 12);
        for (int i = 0; i < words; i++) {
            prompt.append(WORDS.get(random.nextInt(WORDS.size()))).append(' ');
        }
        return prompt.toString();
    }

    /** One of the kinds, drawn. */
    void one(SplittableRandom random) {
        Tenant tenant = tenants.get(random.nextInt(tenants.size()));
        int kind = random.nextInt(100);
        String own = base + ":" + tenant.task();
        if (kind < 40) {
            whole("whole", tenant, body(own, prompt(random), TOKENS, false), tenant.forced().answer(TOKENS), Map.of());
        } else if (kind < 60) {
            stream("stream", tenant, body(own, prompt(random), TOKENS, true), tenant.forced().answer(TOKENS), 0);
        } else if (kind < 70) {
            whole("base", tenant, body(base, referencePrompt, TOKENS, false), reference, Map.of());
        } else if (kind < 80) {
            cancel(tenant, body(own, prompt(random), LONG, true), random.nextInt(20));
        } else if (kind < 84) {
            stream("slow reader", tenant, body(own, prompt(random), TOKENS, true), tenant.forced().answer(TOKENS), 40);
        } else if (kind < 85) {
            refused("oversized body", tenant, "{\"model\": \"" + "x".repeat(OVERSIZED) + "\"}", 413);
        } else if (kind < 90) {
            String body = body(own, prompt(random), TOKENS, false).toString();
            refused("broken body", tenant, body.substring(0, 1 + random.nextInt(body.length() - 1)), 400);
        } else if (kind < 93) {
            refused("unknown model", tenant, body(base + ":nothing", "a", 4, false).toString(), 404);
        } else if (kind < 96) {
            refused("another's delta", tenant, body(tenant.hidden(), "a", 4, false).toString(), 404);
        } else {
            whole("deadline", tenant, body(own, prompt(random), LONG, false), tenant.forced().answer(LONG), Map.of("Inlay-Deadline",
                    "0.05"));
        }
    }

    /** An answer in one piece; a clear refusal for load or a deadline is an end too. */
    void whole(String kind, Tenant tenant, ObjectNode body, String expected, Map<String, String> headers) {
        ledger.sent(kind);
        long start = System.nanoTime();
        try {
            HttpResponse<String> answer = server.send(tenant.key(), "/v1/completions", body.toString(), headers);
            double seconds = (System.nanoTime() - start) / 1e9;
            if (answer.statusCode() != 200) {
                refusal(kind, answer, headers.containsKey("Inlay-Deadline"));
                return;
            }
            String text = Target.JSON.readTree(answer.body()).path("choices").path(0).path("text").asText();
            if (text.equals(expected)) {
                ledger.answered(kind, seconds, seconds);
            } else {
                ledger.violation(kind, tenant.name() + " was told '" + text + "' by " + body.path("model") + ", not '" + expected + "'");
            }
        } catch (IOException | InterruptedException failure) {
            ledger.violation(kind, failure.toString());
        }
    }

    private void refusal(String kind, HttpResponse<String> answer, boolean hurried) throws IOException {
        JsonNode error = Target.JSON.readTree(answer.body()).path("error");
        boolean busy = (answer.statusCode() == 429 || answer.statusCode() == 503) && answer.headers().firstValue("Retry-After").isPresent();
        boolean late = answer.statusCode() == 504 && hurried;
        if ((busy || late) && !error.path("message").asText().isEmpty()) {
            ledger.ended(kind, Integer.toString(answer.statusCode()));
        } else {
            ledger.violation(kind, answer.statusCode() + " " + answer.body());
        }
    }

    /** @param pause milliseconds between two pieces that are read */
    private void stream(String kind, Tenant tenant, ObjectNode body, String expected, int pause) {
        ledger.sent(kind);
        long start = System.nanoTime();
        try {
            HttpResponse<InputStream> answer = server.stream(tenant.key(), "/v1/completions", body.toString());
            StringBuilder text = new StringBuilder();
            double first = 0;
            boolean done = false;
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(answer.body(), StandardCharsets.UTF_8))) {
                if (answer.statusCode() != 200) {
                    boolean busy = answer.statusCode() == 429 || answer.statusCode() == 503;
                    if (busy) {
                        ledger.ended(kind, Integer.toString(answer.statusCode()));
                    } else {
                        ledger.violation(kind, answer.statusCode() + " " + lines.readLine());
                    }
                    return;
                }
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    first = first == 0 ? (System.nanoTime() - start) / 1e9 : first;
                    if (line.equals("data: [DONE]")) {
                        done = true;
                    } else if (line.startsWith("data: ")) {
                        text.append(Target.JSON.readTree(line.substring(6)).path("choices").path(0).path("text").asText());
                    }
                    if (pause > 0) {
                        Thread.sleep(pause);
                    }
                }
            }
            if (done && text.toString().equals(expected)) {
                ledger.answered(kind, first, (System.nanoTime() - start) / 1e9);
            } else {
                ledger.violation(kind, tenant.name() + " was told '" + text + "' by " + body.path("model") + ", not '" + expected + "'");
            }
        } catch (IOException | InterruptedException failure) {
            ledger.violation(kind, failure.toString());
        }
    }

    /** Hangs up after some lines. */
    private void cancel(Tenant tenant, ObjectNode body, int lines) {
        ledger.sent("cancel");
        try {
            HttpResponse<InputStream> answer = server.stream(tenant.key(), "/v1/completions", body.toString());
            try (InputStream in = answer.body()) {
                for (int seen = 0, next = in.read(); next >= 0 && seen < lines; next = in.read()) {
                    seen += next == '\n' ? 1 : 0;
                }
            }
            ledger.ended("cancel", answer.statusCode() == 200 ? "hung up" : Integer.toString(answer.statusCode()));
        } catch (IOException | InterruptedException failure) {
            ledger.violation("cancel", failure.toString());
        }
    }

    private void refused(String kind, Tenant tenant, String body, int status) {
        ledger.sent(kind);
        try {
            HttpResponse<String> answer = server.send(tenant.key(), "/v1/completions", body, Map.of());
            String message = Target.JSON.readTree(answer.body()).path("error").path("message").asText();
            if (answer.statusCode() == status && !message.isEmpty()) {
                ledger.ended(kind, Integer.toString(status));
            } else {
                ledger.violation(kind, answer.statusCode() + " " + answer.body());
            }
        } catch (IOException | InterruptedException failure) {
            // A server may close on a client that goes on sending what is too much.
            ledger.ended(kind, status == 413 ? "closed" : "VIOLATION");
        }
    }

    /** A version of the tenant's that may be deleted meanwhile: the right answer, or that it is not there. */
    boolean isThere(Tenant tenant, String model, ForcedToken token) {
        ledger.sent("versions");
        try {
            HttpResponse<String> answer = server.send(tenant.key(), "/v1/completions", body(model, "who asks", 6, false).toString(),
                    Map.of());
            if (answer.statusCode() == 404) {
                ledger.ended("versions", "404");
                return false;
            }
            if (answer.statusCode() == 429 || answer.statusCode() == 503) {
                ledger.ended("versions", Integer.toString(answer.statusCode()));
                return true;
            }
            String text = Target.JSON.readTree(answer.body()).path("choices").path(0).path("text").asText();
            if (answer.statusCode() == 200 && text.equals(token.answer(6))) {
                ledger.ended("versions", "answered");
            } else {
                ledger.violation("versions", model + ": " + answer.statusCode() + " " + answer.body());
            }
            return true;
        } catch (IOException | InterruptedException failure) {
            ledger.violation("versions", failure.toString());
            return true;
        }
    }
}
