package io.inlay.server;

import io.inlay.generation.DeltaResidency;
import io.inlay.generation.GenerationEngine;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.ServingListener;
import io.inlay.jobs.TuningJobs;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.quarkus.runtime.StartupEvent;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.ToDoubleFunction;

/** Figures of engines, residency and tuning. What engines tell is counted without a lock; the rest is asked of them when somebody reads. */
@ApplicationScoped
public class ServingFigures implements ServingListener {

    private static final double[] STEP = {1, 2, 4, 8, 16, 32, 64, 128};
    private static final Duration[] LOAD = {Duration.ofMillis(1), Duration.ofMillis(5), Duration.ofMillis(10), Duration.ofMillis(50),
        Duration.ofMillis(100), Duration.ofMillis(500), Duration.ofSeconds(1), Duration.ofSeconds(5), Duration.ofSeconds(30)};
    private static final List<String> STATES = List.of("queued", "running", "paused", "succeeded", "failed", "cancelled");
    /** The database is asked once in so long, however many gauges are read. */
    private static final long KEPT_NANOS = 2_000_000_000L;

    private final MeterRegistry registry;
    private final Map<String, DistributionSummary> steps = new ConcurrentHashMap<>();
    private Map<String, Long> states = Map.of();
    private long asked;

    ServingFigures(MeterRegistry registry) {
        this.registry = registry;
    }

    @Override
    public void stepped(String model, int generations) {
        DistributionSummary known = steps.get(model);
        (known == null ? steps.computeIfAbsent(model, this::summary) : known).record(generations);
    }

    private DistributionSummary summary(String model) {
        return DistributionSummary.builder("inlay.step.generations").description("Answers that a pass made a token of").tags("model", model)
                .serviceLevelObjectives(STEP).register(registry);
    }

    @Override
    public void loaded(String model, long nanos, boolean failed) {
        Timer.builder("inlay.delta.load").description("Reading a delta into memory")
                .tags("model", model, "outcome", failed ? "failed" : "done")
                .serviceLevelObjectives(LOAD).register(registry).record(nanos, TimeUnit.NANOSECONDS);
    }

    void start(@Observes StartupEvent event, ModelCatalog catalog, TuningJobs jobs) {
        for (String model : catalog.names()) {
            new OfModel(catalog, model).register();
        }
        for (String state : STATES) {
            Gauge.builder("inlay.tuning.jobs", jobs, all -> states(all).getOrDefault(state, 0L)).description("Tuning jobs by state")
                    .tags("state", state).register(registry);
        }
        FunctionCounter.builder("inlay.tuning.steps", jobs, TuningJobs::steps).description("Training steps made").register(registry);
    }

    private synchronized Map<String, Long> states(TuningJobs jobs) {
        long now = System.nanoTime();
        if (asked == 0 || now - asked > KEPT_NANOS) {
            states = jobs.states();
            asked = now;
        }
        return states;
    }

    /** Of one base model; 0 while it is not ready. */
    private final class OfModel {
        private final ModelCatalog catalog;
        private final String model;
        private final Tags tags;

        private OfModel(ModelCatalog catalog, String model) {
            this.catalog = catalog;
            this.model = model;
            this.tags = Tags.of("model", model);
        }

        private void register() {
            gauge("inlay.model.ready", "1 once the model can be asked", _ -> 1);
            gauge("inlay.requests.waiting", "Answers that wait for a place", engine -> engine.figures().waiting());
            gauge("inlay.requests.running", "Answers that take turns", engine -> engine.figures().underWay());
            pages("total", engine -> engine.memory().pages());
            pages("used", engine -> engine.memory().used());
            pages("kept", engine -> engine.memory().kept());
            counter("inlay.prefix.pages.hit", "Pages of prompts that were there already", engine -> engine.memory().hits());
            counter("inlay.prefix.pages.asked", "Whole pages of prompts", engine -> engine.memory().asked());
            counter("inlay.sequences.put.aside", "Answers whose keys and values were put aside for want of memory",
                    engine -> engine.memory().putAside());
            counter("inlay.tokens.stepped", "Tokens drawn, of answers under way too", engine -> engine.figures().tokens());
            deltas("inlay.deltas.resident", "Deltas in memory", DeltaResidency.Figures::resident);
            deltas("inlay.deltas.resident.bytes", "Bytes of deltas in memory, of those on their way too", DeltaResidency.Figures::bytes);
            gauge("inlay.deltas.merged.bytes", "Bytes of linears of deltas that are served merged",
                    engine -> engine.residency().mergedBytes());
            counter("inlay.deltas.hits", "Requests whose delta was in memory or on its way", engine -> engine.residency().figures().hits());
            counter("inlay.deltas.misses", "Requests that began the load of a delta", engine -> engine.residency().figures().loads());
        }

        private double of(ToDoubleFunction<GenerationEngine> figure) {
            return catalog.engine(model).map(figure::applyAsDouble).orElse(0.0);
        }

        private void gauge(String name, String what, ToDoubleFunction<GenerationEngine> figure) {
            Gauge.builder(name, () -> of(figure)).description(what).tags(tags).register(registry);
        }

        private void pages(String state, ToDoubleFunction<GenerationEngine> figure) {
            Gauge.builder("inlay.kv.pages", () -> of(figure))
                    .description("Pages for keys and values: that there are, that are used, and of "
                    + "those the ones kept of prompts").tags(tags.and("state", state)).register(registry);
        }

        private void deltas(String name, String what, ToDoubleFunction<DeltaResidency.Figures> figure) {
            gauge(name, what, engine -> figure.applyAsDouble(engine.residency().figures()));
        }

        private void counter(String name, String what, ToDoubleFunction<GenerationEngine> figure) {
            FunctionCounter.builder(name, this, each -> each.of(figure)).description(what).tags(tags).register(registry);
        }
    }
}
