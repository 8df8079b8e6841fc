package io.inlay.server;

import io.inlay.access.GenerationLimits;
import io.inlay.api.AccessLog;
import io.inlay.api.AnswerFigures;
import io.inlay.api.Deadlines;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.PinnedDeltas;
import io.quarkus.runtime.ShutdownEvent;
import io.quarkus.runtime.StartupEvent;
import jakarta.annotation.Priority;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import jakarta.enterprise.inject.Produces;
import jakarta.inject.Singleton;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** Makes of the settings what bounds answers, keeps deltas in memory and tells of both. */
@ApplicationScoped
public class ServingComposition {

    /** How soon a pin follows its alias. */
    private static final Duration PINS_LOOKED_AT = Duration.ofSeconds(5);

    /** Before the models go, which the pins lie over. */
    private static final int FIRST = 1;

    private final InlayConfig config;

    ServingComposition(InlayConfig config) {
        this.config = config;
    }

    @Produces
    @Singleton
    GenerationLimits limits() {
        return new GenerationLimits(new GenerationLimits.Settings(config.limits().generations(), config.limits().generationsPerMinute(),
                config.limits().tokensPerMinute()), System::nanoTime);
    }

    @Produces
    @Singleton
    Deadlines deadlines() {
        return new Deadlines(Duration.ofSeconds(config.generation().deadlineSeconds()));
    }

    @Produces
    @Singleton
    AnswerFigures.Labels labels() {
        return new AnswerFigures.Labels(config.metrics().tenants());
    }

    @Produces
    @Singleton
    AccessLog.Settings accessLog() {
        return new AccessLog.Settings(config.log().access());
    }

    @Produces
    @Singleton
    PinnedDeltas pinned(ModelCatalog catalog) {
        return new PinnedDeltas(catalog,
                Stream.concat(pins(config.deltas().pinned(), false), pins(config.deltas().merged(), true)).toList(), PINS_LOOKED_AT);
    }

    private static Stream<PinnedDeltas.Pin> pins(Optional<List<String>> names, boolean merged) {
        return names.orElse(List.of()).stream().map(name -> PinnedDeltas.Pin.parse(name, merged));
    }

    void start(@Observes StartupEvent event, PinnedDeltas pinned, GatewayFigures gateway) {
        gateway.publish();
    }

    void stop(@Observes @Priority(FIRST) ShutdownEvent event, PinnedDeltas pinned) {
        pinned.close();
    }
}
