package io.inlay.api;

import io.inlay.generation.Generation;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import jakarta.enterprise.context.ApplicationScoped;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** Times and counts of answers, by base model, and by tenant where a setting asks for it. Recording takes no lock. */
@ApplicationScoped
public class AnswerFigures {

    /** Bounds of buckets, in milliseconds. */
    private static final Duration[] TOKEN = bounds(1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 500, 1000, 5000);
    private static final Duration[] REQUEST = bounds(5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000,
            600_000);

    private final MeterRegistry registry;
    private final Labels labels;
    private final Map<Owner, Meters> meters = new ConcurrentHashMap<>();

    /** @param tenants whether figures are by tenant too */
    public record Labels(boolean tenants) {
    }

    private record Owner(String model, String tenant) {
    }

    AnswerFigures(MeterRegistry registry, Labels labels) {
        this.registry = registry;
        this.labels = labels;
    }

    private static Duration[] bounds(long... millis) {
        return Arrays.stream(millis).mapToObj(Duration::ofMillis).toArray(Duration[]::new);
    }

    /** The meters of a tenant's answers from a base model. */
    Meters of(String model, String tenant) {
        return meters.computeIfAbsent(new Owner(model, labels.tenants() ? tenant : ""), this::meters);
    }

    private Meters meters(Owner owner) {
        Tags tags = owner.tenant().isEmpty() ? Tags.of("model", owner.model()) : Tags.of("model", owner.model(), "tenant", owner.tenant());
        return new Meters(timer("inlay.time.to.first.token", "From a request's submission to its first token", tags, REQUEST),
                timer("inlay.inter.token", "Between two tokens of an answer", tags, TOKEN),
                timer("inlay.queue", "From a request's submission to its place in a batch", tags, REQUEST),
                timer("inlay.delta.wait", "From a request's place in a batch to its delta's being in memory", tags, REQUEST),
                timer("inlay.answer", "From a request's submission to its end", tags, REQUEST),
                Counter.builder("inlay.tokens.prompted").description("Tokens of prompts of answers that have ended").tags(tags)
                        .register(registry),
                Counter.builder("inlay.tokens.drawn").description("Tokens drawn, of answers that have ended").tags(tags).register(registry),
                new ConcurrentHashMap<>(), tags);
    }

    private Timer timer(String name, String what, Tags tags, Duration[] bounds) {
        return Timer.builder(name).description(what).tags(tags).serviceLevelObjectives(bounds).register(registry);
    }

    /** Of one model, and perhaps one tenant. */
    final class Meters {
        private final Timer firstToken;
        private final Timer interToken;
        private final Timer queue;
        private final Timer deltaWait;
        private final Timer whole;
        private final Counter prompted;
        private final Counter drawn;
        private final Map<String, Counter> ends;
        private final Tags tags;

        private Meters(Timer firstToken, Timer interToken, Timer queue, Timer deltaWait, Timer whole, Counter prompted, Counter drawn,
                Map<String, Counter> ends, Tags tags) {
            this.firstToken = firstToken;
            this.interToken = interToken;
            this.queue = queue;
            this.deltaWait = deltaWait;
            this.whole = whole;
            this.prompted = prompted;
            this.drawn = drawn;
            this.ends = ends;
            this.tags = tags;
        }

        Timer firstToken() {
            return firstToken;
        }

        Timer interToken() {
            return interToken;
        }

        /** @param finish {@code stop}, {@code length}, {@code cancelled} or a problem's code */
        void ended(Generation.Phases phases, long now, int promptTokens, int tokens, String finish) {
            if (phases.begun() != 0) {
                queue.record(phases.begun() - phases.submitted(), TimeUnit.NANOSECONDS);
            }
            if (phases.opened() != 0) {
                deltaWait.record(phases.opened() - phases.begun(), TimeUnit.NANOSECONDS);
            }
            whole.record(now - phases.submitted(), TimeUnit.NANOSECONDS);
            prompted.increment(promptTokens);
            drawn.increment(tokens);
            Counter end = ends.get(finish);
            (end == null ? ends.computeIfAbsent(finish, this::end) : end).increment();
        }

        private Counter end(String finish) {
            return Counter.builder("inlay.answers").description("Answers that have ended, by how").tags(tags.and("finish", finish))
                    .register(registry);
        }
    }
}
