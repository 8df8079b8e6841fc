package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.kernels.KvPages;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.PromptCut;
import io.inlay.model.TextStream;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaVersion;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One request on its way from prompt to last token. Confined to the engine's thread, but for {@link #cancel}. */
final class RunningGeneration implements Generation {

    private static final Logger LOG = LoggerFactory.getLogger(RunningGeneration.class);

    private final LlamaModel model;
    private final GenerationRequest request;
    private final Consumer<GenerationEvent> listener;
    private final Executor masks;
    private final PromptCut cut;
    private final Runnable wake;
    private final String name;
    private final TokenDrawer drawer;
    private final TextStream stream;
    private final StopStrings stops;
    private final int[] prompt;
    private final int limit;
    private final PrefixCache.Owner owner;
    private volatile boolean cancelled;
    private volatile Problem failure;
    private final long submitted = System.nanoTime();
    private volatile long begun;
    private volatile long opened;
    private volatile long first;
    private CompletableFuture<DeltaResidency.Lease> lease;
    private WeightOverlay overlay;
    private KvCache cache;
    private FileChannel aside;
    /** By the model, for the next token, where it is there before its mask is. */
    private Given given;
    private int last;
    private int drawn;

    /**
     * @param tenant who asks
     * @param positions of keys and values that there is memory for
     * @param masks where masks are worked out
     * @param wake called from any thread when this generation may have become able to step
     */
    RunningGeneration(LlamaModel model, String tenant, GenerationRequest request, int positions, Consumer<GenerationEvent> listener,
            Executor masks, Runnable wake) {
        this.model = model;
        this.request = request;
        this.listener = listener;
        this.masks = masks;
        this.cut = PromptCut.of(model.device(), model.dtype());
        this.wake = wake;
        this.name = request.delta().map(DeltaVersion::model).orElse(model.name());
        this.stream = model.tokenizer().stream();
        this.stops = new StopStrings(request.stop());
        this.prompt = request.prompt();
        this.limit = Math.min(request.maxTokens(), positions - prompt.length);
        this.owner = new PrefixCache.Owner(tenant, request.delta().map(DeltaVersion::digest).orElse(""));
        this.drawer = new TokenDrawer(request, model.kernels(), model.tokenizer(), name, limit);
    }

    @Override
    public void cancel() {
        cancelled = true;
        wake.run();
    }

    @Override
    public void fail(Problem why) {
        failure = why;
        cancel();
    }

    @Override
    public Phases phases() {
        return new Phases(submitted, begun, opened, first);
    }

    boolean isCancelled() {
        return cancelled;
    }

    /** Asks for the delta, which is loaded elsewhere, and for the first token's mask. */
    void begin(DeltaResidency residency) {
        begun = System.nanoTime();
        drawer.prepare(masks, wake);
        if (request.delta().isPresent()) {
            try {
                lease = residency.acquire(request.delta().get());
            } catch (RuntimeException refused) {
                lease = CompletableFuture.failedFuture(refused);
            }
            lease.whenComplete((_, _) -> wake.run());
        }
    }

    /** Of what answers, for logs. */
    String name() {
        return name;
    }

    String tenant() {
        return owner.tenant();
    }

    int promptLength() {
        return prompt.length;
    }

    /** Whether there is something to do: not while the delta is loading, or only a mask is missing. */
    boolean canStep() {
        return cancelled || (given == null ? lease == null || lease.isDone() : canDraw());
    }

    /** Whether the prompt is not taken in yet, which is the long work. */
    boolean isAtPrompt() {
        return drawn == 0 && given == null;
    }

    /** Whether it has the next token's logits already, and sits out until their mask is there. */
    boolean sitsOut() {
        return given != null;
    }

    /** Whether it can make a token of what it was given. */
    boolean canDraw() {
        return given != null && drawer.ready();
    }

    /** Tokens so far. */
    int drawn() {
        return drawn;
    }

    long cacheBytes() {
        return cache == null ? 0 : cache.bytes();
    }

    /** Whether its keys and values lie in a file. */
    boolean isAside() {
        return aside != null;
    }

    // ---- the next piece of work; what it throws is for failed ----

    /** Makes what the first step needs, once the delta is there. The prompt's beginning may be there from another request. */
    void open(KvMemory memory) {
        if (cache == null) {
            opened = System.nanoTime();
            overlay = lease == null ? WeightOverlay.none() : lease.join().overlay();
            cache = memory.pool().cache(prompt.length + limit);
            memory.prefixes().begin(owner, prompt, wholePages(), cache);
        }
    }

    /** Positions of the prompt in pages that are taken in whole; the last token is not among them, since its logits are needed. */
    private int wholePages() {
        return (prompt.length - 1) / KvPages.PAGE * KvPages.PAGE;
    }

    /**
     * Positions of the prompt, in whole pages, that are taken in next; 0 when the rest goes in a step.
     *
     * @param shared whether others wait meanwhile
     */
    int chunk(boolean shared) {
        int at = Math.min(cache.length(), wholePages());
        return cut.end(at, wholePages(), shared) - at;
    }

    /** Positions that the next piece of work needs memory for. */
    int positionsAhead(boolean shared) {
        int chunk = chunk(shared);
        return chunk > 0 ? cache.length() + chunk : cache.length() + rows().size();
    }

    KvCache cache() {
        return cache;
    }

    /** Takes the next chunk of the prompt in, and keeps it for others once all whole pages are there. */
    void extend(boolean shared, Forward forward, KvMemory memory) {
        int from = cache.length();
        forward.extend(Arrays.copyOfRange(prompt, from, from + chunk(shared)), wholePages(), cache, overlay);
        if (cache.length() == wholePages()) {
            memory.prefixes().keep(owner, prompt, wholePages(), cache);
        }
    }

    /** The rest of the prompt, or the token that was drawn last; the last of them asks for what the next token needs. */
    List<LlamaInference.Row> rows() {
        if (drawn > 0) {
            return List.of(new LlamaInference.Row(last, cache, overlay, drawer.asks()));
        }
        List<LlamaInference.Row> rows = new ArrayList<>();
        for (int i = cache.length(); i < prompt.length; i++) {
            rows.add(new LlamaInference.Row(prompt[i], cache, overlay, i == prompt.length - 1 ? drawer.asks() : Asked.NOTHING));
        }
        return rows;
    }

    /** Puts its keys and values aside. */
    void putAside(KvMemory memory) {
        aside = memory.putAside(cache);
    }

    /** Brings them back; false while there is no room. */
    boolean bringBack() throws IOException {
        if (!cache.swapIn(aside)) {
            return false;
        }
        aside.close();
        aside = null;
        return true;
    }

    // ---- what comes of it; the last event is for tellLast once all is released ----

    /** Takes what the model gives for the next token, which is made of it once its mask is there. */
    void give(Given next) {
        given = next;
    }

    /** Makes a token and tells the listener; returns the last event when that was the end, else null. Never throws. */
    GenerationEvent take() {
        try {
            int token = drawer.next(given);
            given = null;
            drawn++;
            if (drawn == 1) {
                first = System.nanoTime();
            }
            return draw(token);
        } catch (ListenerFailure broken) {
            LOG.warn("a listener failed; its generation with {} is cancelled", name, broken.getCause());
            return finished(FinishReason.CANCELLED);
        } catch (Throwable failure) {
            return failed(failure);
        }
    }

    /** The last event of what was cancelled. */
    GenerationEvent cancelled() {
        Problem why = failure;
        return why == null ? finished(FinishReason.CANCELLED) : new GenerationEvent.Failed(why);
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
            drawer.prepare(masks, wake); // while the pass that gives its logits runs
            return null;
        }
        return finished(whole || stops.hit() ? FinishReason.STOP : FinishReason.LENGTH);
    }

    private GenerationEvent finished(FinishReason reason) {
        return new GenerationEvent.Finished(reason, prompt.length, drawn);
    }

    /** The last event of what cannot go on. */
    GenerationEvent failed(Throwable thrown) {
        Throwable failure = thrown instanceof CompletionException load && load.getCause() != null ? load.getCause() : thrown;
        if (failure instanceof Problem problem) {
            return new GenerationEvent.Failed(problem);
        }
        LOG.error("a generation with {} failed", name, failure);
        return new GenerationEvent.Failed(new Problem(Problem.Code.INTERNAL, "the generation with " + name + " failed: " + failure
                + "; the server's log has the details", failure));
    }

    /** Frees the cache and lets go of the delta. Never throws. */
    void release() {
        given = null;
        drawer.cancel();
        try {
            if (cache != null) {
                cache.close();
            }
            if (aside != null) {
                aside.close();
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
