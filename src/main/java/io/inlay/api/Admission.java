package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.GenerationLimits;
import io.inlay.generation.FinishReason;
import io.inlay.generation.Generation;
import io.inlay.generation.GenerationEvent;
import io.inlay.generation.GenerationRequest;
import io.inlay.generation.ModelCatalog;
import io.inlay.store.DeltaVersion;
import io.opentelemetry.context.Context;
import io.vertx.ext.web.RoutingContext;
import jakarta.annotation.PreDestroy;
import jakarta.enterprise.context.ApplicationScoped;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * The one way from a request to an engine: within its tenant's limits, with a deadline, and followed for figures, traces and the access
 * log. All of what it does on the engine's thread is counting.
 */
@ApplicationScoped
public class Admission {

    private final GenerationLimits limits;
    private final Deadlines deadlines;
    private final AnswerFigures figures;
    private final AnswerTraces traces;
    private final Caller caller;
    private final RoutingContext client;
    private final Set<Watched> underWay = ConcurrentHashMap.newKeySet();
    private final ScheduledThreadPoolExecutor clock = new ScheduledThreadPoolExecutor(1, Thread.ofPlatform().name("deadlines").daemon()
            .factory());

    Admission(GenerationLimits limits, Deadlines deadlines, AnswerFigures figures, AnswerTraces traces, Caller caller,
            RoutingContext client) {
        this.limits = limits;
        this.deadlines = deadlines;
        this.figures = figures;
        this.traces = traces;
        this.caller = caller;
        this.client = client;
        clock.setRemoveOnCancelPolicy(true);
    }

    @PreDestroy
    void close() {
        clock.shutdownNow();
    }

    /**
     * Gives a request to its engine; see {@link io.inlay.generation.GenerationEngine#submit}. Called in the request's context.
     *
     * @throws Problem the engine's, {@code RATE_LIMIT_EXCEEDED} over the tenant's limits, {@code INVALID_REQUEST} for a deadline that is
     *        none
     */
    public Generation submit(ModelCatalog.Resolved resolved, GenerationRequest request, Consumer<GenerationEvent> listener) {
        String tenant = caller.tenant();
        long deadline = deadlines.nanos(client.request().getHeader(Deadlines.HEADER));
        GenerationLimits.Ticket ticket = limits.admit(tenant);
        Watched watched = new Watched(tenant, resolved, request.prompt().length, ticket, listener, AccessLog.answer(client, tenant,
                resolved.delta().map(DeltaVersion::model).orElse(resolved.engine().model().name())));
        underWay.add(watched);
        Generation generation;
        try {
            generation = resolved.engine().submit(tenant, request, watched);
        } catch (RuntimeException refused) {
            underWay.remove(watched);
            ticket.close();
            throw refused;
        }
        Future<?> timer = deadline == 0 ? CompletableFuture.completedFuture(null)
                : clock.schedule(() -> generation.fail(deadlines.over(deadline, generation.phases(), watched.drawn)), deadline,
                        TimeUnit.NANOSECONDS);
        watched.started.complete(new Started(generation, timer));
        return generation;
    }

    /**
     * Versions that answers wait for or come from, by the model names that clients use; each once.
     *
     * @param base whose versions
     * @param begun whether they have a place, or wait for one
     */
    public List<String> deltas(String base, boolean begun) {
        return underWay.stream().filter(each -> each.delta != null && each.delta.base().equals(base) && each.hasBegun() == begun)
                .map(each -> each.delta.model()).distinct().sorted().toList();
    }

    private record Started(Generation generation, Future<?> timer) {
    }

    /** One generation, as its events tell of it. Told on the engine's thread. */
    final class Watched implements Consumer<GenerationEvent> {
        final String tenant;
        final String model;
        final DeltaVersion delta;
        final int promptTokens;
        final Context trace = Context.current();
        private final AnswerFigures.Meters meters;
        private final GenerationLimits.Ticket ticket;
        private final Consumer<GenerationEvent> listener;
        private final AccessLog.Answer line;
        private final CompletableFuture<Started> started = new CompletableFuture<>();
        private final long submitted = System.nanoTime();
        private volatile int drawn;
        private long last;

        private Watched(String tenant, ModelCatalog.Resolved resolved, int promptTokens, GenerationLimits.Ticket ticket,
                Consumer<GenerationEvent> listener, AccessLog.Answer line) {
            this.tenant = tenant;
            this.model = resolved.engine().model().name();
            this.delta = resolved.delta().orElse(null);
            this.promptTokens = promptTokens;
            this.meters = figures.of(model, tenant);
            this.ticket = ticket;
            this.listener = listener;
            this.line = line;
        }

        int drawn() {
            return drawn;
        }

        private boolean hasBegun() {
            Started known = started.getNow(null);
            return known != null && known.generation().phases().begun() != 0;
        }

        @Override
        public void accept(GenerationEvent event) {
            switch (event) {
                case GenerationEvent.Text _ -> token();
                case GenerationEvent.Finished end -> ended(end.reason() == FinishReason.CANCELLED ? "cancelled" : end.reason().wire());
                case GenerationEvent.Failed failed -> ended(failed.problem().code().wire());
            }
            listener.accept(event);
        }

        @SuppressWarnings("NonAtomicOperationOnVolatileField") // One thread writes.
        private void token() {
            long now = System.nanoTime();
            if (drawn == 0) {
                meters.firstToken().record(now - submitted, TimeUnit.NANOSECONDS);
            } else {
                meters.interToken().record(now - last, TimeUnit.NANOSECONDS);
            }
            last = now;
            drawn++;
        }

        private void ended(String finish) {
            long now = System.nanoTime();
            underWay.remove(this);
            ticket.charge((long) promptTokens + drawn);
            ticket.close();
            line.ended(promptTokens, drawn, finish);
            started.thenAccept(known -> {
                known.timer().cancel(false);
                Generation.Phases phases = known.generation().phases();
                meters.ended(phases, now, promptTokens, drawn, finish);
                traces.ended(this, phases, now, finish);
            });
        }
    }
}
