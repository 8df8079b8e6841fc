package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.TextStream;
import io.inlay.model.WeightOverlay;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs the generations of one model on one thread, a step of each in turn: a prompt's prefill is a step, every further token is one. All
 * share the base; each brings its own delta. This is where batching will live: the loop already sees all running requests between steps.
 */
public final class GenerationEngine implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(GenerationEngine.class);

    private final LlamaModel model;
    private final LlamaInference inference;
    private final DeltaResidency residency;
    private final Limits limits;
    private final Thread thread;
    private final ArrayDeque<Running> waiting = new ArrayDeque<>();
    private int admitted;
    private boolean closing;

    /**
     * @param concurrent generations that take turns
     * @param queued further ones that wait; more are refused with {@code OVERLOADED}
     */
    public record Limits(int concurrent, int queued) {

        public Limits {
            if (concurrent < 1 || queued < 0) {
                throw new IllegalArgumentException(concurrent + " concurrent and " + queued + " queued generations make no engine");
            }
        }
    }

    public GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits) {
        this.model = model;
        this.inference = new LlamaInference(model);
        this.residency = residency;
        this.limits = limits;
        this.thread = Thread.ofPlatform().name("generation " + model.name()).daemon().start(this::loop);
    }

    public LlamaModel model() {
        return model;
    }

    /** Generations that were accepted and have not ended. */
    public synchronized int load() {
        return admitted;
    }

    /**
     * Accepts a request; events reach the listener on the engine's thread, so it must not block. A listener that throws cancels its own
     * request.
     *
     * @throws Problem {@code CONTEXT_LENGTH_EXCEEDED} or {@code OVERLOADED}; nothing is queued then
     */
    public Generation submit(GenerationRequest request, Consumer<GenerationEvent> listener) {
        if (request.prompt().length >= model.maxContext()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the prompt has " + request.prompt().length + " tokens; model "
                    + model.name() + " reads " + model.maxContext() + ", the answer included; shorten the prompt");
        }
        Running running = new Running(request, listener);
        synchronized (this) {
            if (closing) {
                throw new Problem(Problem.Code.UNAVAILABLE, "the server is stopping; try another or try again later");
            }
            if (admitted >= limits.concurrent() + limits.queued()) {
                throw new Problem(Problem.Code.OVERLOADED, admitted + " generations are running or queued, the most that are taken; "
                        + "try again later");
            }
            admitted++;
        }
        lease(request).whenComplete((lease, failure) -> {
            running.lease = lease;
            running.failure = failure;
            synchronized (this) {
                waiting.add(running);
                notifyAll();
            }
        });
        return () -> {
            running.cancelled = true;
            synchronized (this) {
                notifyAll();
            }
        };
    }

    private CompletableFuture<DeltaResidency.Lease> lease(GenerationRequest request) {
        return request.delta().map(residency::acquire).orElseGet(() -> CompletableFuture.completedFuture(null));
    }

    /** One generation's state; touched by the engine's thread only, but for the two flags. */
    private final class Running {
        private final GenerationRequest request;
        private final Consumer<GenerationEvent> listener;
        private final Sampler sampler;
        private final TextStream stream = model.tokenizer().stream();
        private final StopStrings stops;
        private volatile boolean cancelled;
        private volatile DeltaResidency.Lease lease;
        private volatile Throwable failure;
        private KvCache cache;
        private int last = -1;
        private int drawn;

        private Running(GenerationRequest request, Consumer<GenerationEvent> listener) {
            this.request = request;
            this.listener = listener;
            this.sampler = new Sampler(request.sampling());
            this.stops = new StopStrings(request.stop());
        }

        /** Makes one token; returns whether the generation goes on. */
        private boolean step() {
            if (failure != null) {
                Throwable cause = failure instanceof CompletionException wrapped ? wrapped.getCause() : failure;
                throw cause instanceof Problem problem ? problem : new IllegalStateException(cause);
            }
            if (cancelled) {
                return finish(FinishReason.CANCELLED, "");
            }
            int token = sampler.next(logits());
            drawn++;
            if (model.tokenizer().eos().contains(token)) {
                return finish(FinishReason.STOP, stops.accept(stream.finish()) + stops.finish());
            }
            last = token;
            String text = stops.accept(stream.feed(token));
            if (stops.hit()) {
                return finish(FinishReason.STOP, text);
            }
            if (drawn >= request.maxTokens() || cache.length() >= cache.capacity()) {
                String rest = stops.accept(stream.finish());
                return finish(stops.hit() ? FinishReason.STOP : FinishReason.LENGTH, text + rest + stops.finish());
            }
            if (!text.isEmpty()) {
                listener.accept(new GenerationEvent.Text(text, token));
            }
            return true;
        }

        private float[] logits() {
            WeightOverlay overlay = lease == null ? WeightOverlay.none() : lease.overlay();
            if (cache == null) {
                long wanted = (long) request.prompt().length + request.maxTokens();
                cache = inference.cache((int) Math.min(wanted, model.maxContext()));
                return inference.prefill(request.prompt(), cache, overlay);
            }
            return inference.decode(last, cache, overlay);
        }

        private boolean finish(FinishReason reason, String text) {
            if (!text.isEmpty()) {
                listener.accept(new GenerationEvent.Text(text, -1));
            }
            listener.accept(new GenerationEvent.Finished(reason, request.prompt().length, drawn));
            return false;
        }

        private void free() {
            if (cache != null) {
                cache.close();
                cache = null;
            }
            if (lease != null) {
                lease.close();
            }
        }
    }

    private void loop() {
        List<Running> active = new ArrayList<>();
        while (admit(active)) {
            for (var each = active.iterator(); each.hasNext();) {
                Running running = each.next();
                if (!advance(running)) {
                    each.remove();
                    running.free();
                    synchronized (this) {
                        admitted--;
                    }
                }
            }
        }
    }

    /** Takes up waiting requests, sleeping while there is nothing to do; false when the engine is to stop. */
    private synchronized boolean admit(List<Running> active) {
        while (active.isEmpty() && waiting.isEmpty() && !(closing && admitted == 0)) {
            try {
                wait();
            } catch (InterruptedException stop) {
                closing = true;
            }
        }
        while (active.size() < limits.concurrent() && !waiting.isEmpty()) {
            active.add(waiting.poll());
        }
        if (closing) {
            active.forEach(running -> running.cancelled = true);
            waiting.forEach(running -> running.cancelled = true);
        }
        return !active.isEmpty();
    }

    /** One step; whatever goes wrong ends this request alone. */
    private boolean advance(Running running) {
        try {
            return running.step();
        } catch (Problem problem) {
            tell(running, problem);
        } catch (RuntimeException | Error unexpected) {
            LOG.error("a generation failed", unexpected);
            tell(running, new Problem(Problem.Code.INTERNAL, "the generation failed: " + unexpected, unexpected));
        }
        return false;
    }

    private static void tell(Running running, Problem problem) {
        try {
            running.listener.accept(new GenerationEvent.Failed(problem));
        } catch (RuntimeException gone) {
            LOG.debug("a listener failed to hear of a failure", gone);
        }
    }

    /** Cancels what runs and waits for the thread to end. */
    @Override
    public void close() {
        synchronized (this) {
            closing = true;
            notifyAll();
        }
        try {
            thread.join();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        inference.close();
    }
}
