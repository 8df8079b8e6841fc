package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.model.TextStream;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaVersion;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One request on its way from prompt to last token. Confined to the engine's thread, but for {@link #cancel}. */
final class RunningGeneration implements Generation {

    private static final Logger LOG = LoggerFactory.getLogger(RunningGeneration.class);

    /** Caches are made in multiples of this many positions, so that freed memory fits the next request. */
    private static final int CACHE_STEP = 64;

    private final LlamaModel model;
    private final GenerationRequest request;
    private final Consumer<GenerationEvent> listener;
    private final Runnable wake;
    private final String name;
    private final TokenDrawer drawer;
    private final TextStream stream;
    private final StopStrings stops;
    private final int limit;
    private volatile boolean cancelled;
    private CompletableFuture<DeltaResidency.Lease> lease;
    private Sequences.Sequence sequence;
    private int last;
    private int drawn;

    /**
     * @param wake called from any thread when this generation may have become able to step
     */
    RunningGeneration(LlamaModel model, GenerationRequest request, Consumer<GenerationEvent> listener, Runnable wake) {
        this.model = model;
        this.request = request;
        this.listener = listener;
        this.wake = wake;
        this.name = request.delta().map(DeltaVersion::model).orElse(model.name());
        this.stream = model.tokenizer().stream();
        this.stops = new StopStrings(request.stop());
        this.limit = Math.min(request.maxTokens(), model.maxContext() - request.prompt().length);
        this.drawer = new TokenDrawer(request, model.tokenizer(), name, limit);
    }

    @Override
    public void cancel() {
        cancelled = true;
        wake.run();
    }

    boolean isCancelled() {
        return cancelled;
    }

    /** Asks for the delta, which is loaded elsewhere. */
    void begin(DeltaResidency residency) {
        if (request.delta().isPresent()) {
            try {
                lease = residency.acquire(request.delta().get());
            } catch (RuntimeException refused) {
                lease = CompletableFuture.failedFuture(refused);
            }
            lease.whenComplete((_, _) -> wake.run());
        }
    }

    /** Whether {@link #step} has something to do: not while the delta is loading. */
    boolean canStep() {
        return cancelled || lease == null || lease.isDone();
    }

    /** Whether the next step is the prompt's, the long one. */
    boolean isAtPrompt() {
        return sequence == null;
    }

    /** Tokens so far. */
    int drawn() {
        return drawn;
    }

    long cacheBytes() {
        return sequence == null ? 0 : sequence.bytes();
    }

    /**
     * Draws one token and tells the listener. Returns the generation's last event when it has ended, which is for {@link #tellLast} once
     * all is released; else null. Never throws.
     */
    GenerationEvent step(Sequences sequences) {
        try {
            if (cancelled) {
                return finished(FinishReason.CANCELLED);
            }
            int token = drawer.next(logits(sequences));
            drawn++;
            return draw(token);
        } catch (ListenerFailure broken) {
            LOG.warn("a listener failed; its generation with {} is cancelled", name, broken.getCause());
            return finished(FinishReason.CANCELLED);
        } catch (CompletionException failedLoad) {
            return failed(failedLoad.getCause());
        } catch (Throwable failure) {
            return failed(failure);
        }
    }

    private float[] logits(Sequences sequences) {
        if (sequence != null) {
            return sequence.decode(last);
        }
        WeightOverlay overlay = lease == null ? WeightOverlay.none() : lease.join().overlay();
        // The last token drawn is never taken in, so one position less would do; rounding up mostly gives it away anyway.
        int positions = request.prompt().length + limit;
        int capacity = Math.min(Math.ceilDiv(positions, CACHE_STEP) * CACHE_STEP, model.maxContext());
        sequence = sequences.open(capacity, overlay);
        return sequence.prefill(request.prompt());
    }

    private GenerationEvent draw(int token) {
        last = token;
        boolean end = model.tokenizer().eos().contains(token);
        String text = end ? "" : stops.accept(stream.feed(token));
        boolean whole = end || drawer.over();
        boolean over = whole || stops.hit() || drawn == limit;
        if (over) {
            text += stops.accept(stream.finish()) + stops.finish();
        }
        tell(new GenerationEvent.Text(text, token, drawer.scores()));
        if (!over) {
            return null;
        }
        return finished(whole || stops.hit() ? FinishReason.STOP : FinishReason.LENGTH);
    }

    private GenerationEvent finished(FinishReason reason) {
        return new GenerationEvent.Finished(reason, request.prompt().length, drawn);
    }

    private GenerationEvent failed(Throwable failure) {
        if (failure instanceof Problem problem) {
            return new GenerationEvent.Failed(problem);
        }
        LOG.error("a generation with {} failed", name, failure);
        return new GenerationEvent.Failed(new Problem(Problem.Code.INTERNAL, "the generation with " + name + " failed: " + failure
                + "; the server's log has the details", failure));
    }

    /** Frees the cache and lets go of the delta. Never throws. */
    void release() {
        try {
            if (sequence != null) {
                sequence.close();
            }
            if (lease != null && !lease.cancel(false) && !lease.isCompletedExceptionally()) {
                lease.join().close();
            }
        } catch (Throwable failure) {
            LOG.error("a generation with {} could not release its memory", name, failure);
        }
    }

    /** The last event, after which the listener hears nothing. Never throws. */
    void tellLast(GenerationEvent event) {
        try {
            tell(event);
        } catch (ListenerFailure broken) {
            LOG.warn("a listener failed at the end of a generation with {}", name, broken.getCause());
        }
    }

    private void tell(GenerationEvent event) {
        try {
            listener.accept(event);
        } catch (Throwable failure) {
            throw new ListenerFailure(failure);
        }
    }

    private static final class ListenerFailure extends RuntimeException {

        private ListenerFailure(Throwable cause) {
            super(cause);
        }
    }
}
