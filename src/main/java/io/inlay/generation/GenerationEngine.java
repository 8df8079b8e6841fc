package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.kernels.KvPages;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.store.DeltaVersion;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs the generations of one model on one thread, in turns: the next piece of one prompt is taken in, then each generation under way makes
 * one token, all of them in one pass over the base, each through its own delta. An answer's bits do not depend on what it shared its turns
 * with, on how its prompt was cut, or on whether its prompt's beginning was there already. What a grammar allows next is worked out on
 * other threads while a pass runs; where that takes longer, its generation keeps its logits and sits out, and the others go on.
 *
 * <p>Keys and values lie in pages of a fixed budget. When it is used up, the generation that began last is put aside, into a file, and goes
 * on when there is room. Of the requests beyond {@link Limits#concurrent} none holds memory; the next to begin is of the tenant who was
 * served least. A delta is asked for when its request's turn has come.
 */
public final class GenerationEngine implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(GenerationEngine.class);

    /** What a drawn token counts against one of a prompt, for fairness. */
    private static final double DRAWN_WEIGHT = 2;

    private final LlamaModel model;
    private final Forward forward;
    private final SharedPass pass;
    private final ExecutorService masks;
    private final KvMemory memory;
    private final DeltaResidency residency;
    private final Limits limits;
    private final Thread thread;
    private final FairQueue<RunningGeneration> waiting = new FairQueue<>();
    /** Touched by the engine's thread only. */
    private final List<RunningGeneration> active = new ArrayList<>();
    private final int positions;
    private int underWay;
    private boolean news;
    private boolean draining;
    private boolean closing;
    private long tokens;
    private volatile long cacheBytes;
    private volatile Memory memoryFigures = new Memory(0, 0, 0, 0, 0, 0);
    private long putAside;

    /**
     * @param concurrent generations that take turns
     * @param queued further ones that wait; more are refused with {@code OVERLOADED}
     * @param cacheBytes for keys and values
     * @param swapFolder where keys and values lie of generations that were put aside
     */
    public record Limits(int concurrent, int queued, long cacheBytes, Path swapFolder) {

        /** With a gibibyte for keys and values, and the system's folder for temporary files. */
        public Limits(int concurrent, int queued) {
            this(concurrent, queued, 1L << 30, Path.of(System.getProperty("java.io.tmpdir")));
        }

        public Limits {
            if (concurrent < 1 || queued < 0 || cacheBytes < 1) {
                throw new IllegalArgumentException(concurrent + " concurrent and " + queued + " queued generations make no engine");
            }
        }
    }

    /**
     * The engine's state.
     *
     * @param underWay generations that take turns
     * @param waiting generations that wait for a place
     * @param cacheBytes of keys and values of those under way
     * @param tokens drawn since the start
     */
    public record Figures(int underWay, int waiting, long cacheBytes, long tokens) {
    }

    /**
     * The memory for keys and values, as it stood after the last turn.
     *
     * @param pages that there are at most
     * @param used by generations under way or kept of prompts
     * @param kept of prompts
     * @param hits pages of prompts that were there, of those {@code asked} for
     * @param putAside how often a generation was put aside
     */
    public record Memory(int pages, int used, int kept, long hits, long asked, long putAside) {
    }

    /** Closes neither model nor residency. */
    public GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits) {
        this(model, residency, limits, Forward.of(model), ServingListener.NONE);
    }

    GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits, Forward forward) {
        this(model, residency, limits, forward, ServingListener.NONE);
    }

    GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits, Forward forward, ServingListener serving) {
        this(model, residency, limits, forward, serving, MaskThreads.of(model.name()));
    }

    /**
     * @param forward closed with the engine
     * @param serving hears of its steps
     * @param masks where masks of grammars are worked out, shut down with the engine
     */
    GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits, Forward forward, ServingListener serving,
            ExecutorService masks) {
        this.model = model;
        this.forward = forward;
        this.pass = new SharedPass(forward, size -> serving.stepped(model.name(), size));
        this.masks = masks;
        this.memory = new KvMemory(model, limits.cacheBytes(), limits.swapFolder());
        this.positions = (int) Math.min(model.maxContext(), (long) memory.pool().capacity() * KvPages.PAGE);
        this.residency = residency;
        this.limits = limits;
        this.thread = Thread.ofPlatform().name("generation " + model.name()).daemon().start(this::loop);
    }

    public LlamaModel model() {
        return model;
    }

    public DeltaResidency residency() {
        return residency;
    }

    /** Whether its thread is there to take turns. */
    public boolean isAlive() {
        return thread.isAlive();
    }

    /** Generations that were accepted and have not ended. */
    public synchronized int load() {
        return underWay + waiting.size();
    }

    public synchronized Figures figures() {
        return new Figures(underWay, waiting.size(), cacheBytes, tokens);
    }

    public Memory memory() {
        return memoryFigures;
    }

    /** Accepts a request of the delta's tenant, or of nobody. */
    public Generation submit(GenerationRequest request, Consumer<GenerationEvent> listener) {
        return submit(request.delta().map(DeltaVersion::tenant).orElse(""), request, listener);
    }

    /**
     * Accepts a tenant's request. Events reach the listener on the engine's thread, so it must not block. A listener that throws cancels its own
     * request.
     *
     * @throws Problem {@code CONTEXT_LENGTH_EXCEEDED}, {@code INVALID_REQUEST}, {@code OVERLOADED} or {@code UNAVAILABLE}; nothing is
     *         queued then, and the listener hears nothing
     */
    public Generation submit(String tenant, GenerationRequest request, Consumer<GenerationEvent> listener) {
        PromptFit.require(request.prompt(), model, positions);
        RunningGeneration running = new RunningGeneration(model, tenant, request, positions, listener, masks, this::wake);
        synchronized (this) {
            if (draining || closing) {
                throw new Problem(Problem.Code.UNAVAILABLE, "the server is stopping; ask another one, or again later");
            }
            if (load() >= limits.concurrent() + limits.queued()) {
                throw new Problem(Problem.Code.OVERLOADED, load() + " requests to model " + model.name()
                        + " are being answered or waiting, which is the most that are accepted; try again later");
            }
            waiting.add(tenant, running);
            wake();
        }
        return running;
    }

    private synchronized void wake() {
        news = true;
        notifyAll();
    }

    private void loop() {
        try {
            while (takeUp()) {
                turn();
            }
        } finally {
            masks.shutdown();
            forward.close();
            memory.close();
        }
    }

    /** Sleeps while there is nothing to do, then fills the free places; false when the engine has ended. */
    private boolean takeUp() {
        List<RunningGeneration> begun = new ArrayList<>();
        List<RunningGeneration> dropped = new ArrayList<>();
        synchronized (this) {
            while (!news && !hasWork()) {
                try {
                    wait();
                } catch (InterruptedException stop) {
                    closing = true;
                    news = true;
                }
            }
            news = false;
            waiting.removeIf(each -> (closing || each.isCancelled()) && dropped.add(each));
            while (underWay < limits.concurrent() && !waiting.isEmpty()) {
                RunningGeneration next = waiting.remove();
                waiting.charge(next.tenant(), next.promptLength());
                begun.add(next);
                underWay++;
            }
            if (waiting.isEmpty()) {
                waiting.forget(active.stream().map(RunningGeneration::tenant).collect(Collectors.toSet()));
            }
        }
        for (RunningGeneration each : dropped) {
            each.cancel();
            each.tellLast(each.cancelled());
        }
        for (RunningGeneration each : begun) {
            active.add(each);
            each.begin(residency);
        }
        synchronized (this) {
            if (closing) {
                active.forEach(RunningGeneration::cancel);
            }
            notifyAll();
            return !(closing && active.isEmpty() && waiting.isEmpty());
        }
    }

    /** Who is put aside waits for others' memory: no turn brings it before one of those who sit out goes on. */
    private boolean hasWork() {
        boolean sittingOut = active.stream().anyMatch(RunningGeneration::sitsOut);
        return active.stream().anyMatch(each -> each.canStep() && !(each.isAside() && sittingOut));
    }

    private void turn() {
        for (RunningGeneration each : List.copyOf(active)) {
            if (each.isCancelled()) {
                end(each, each.cancelled());
            } else {
                draw(each);
            }
        }
        bringBack();
        boolean shared = active.stream().anyMatch(each -> !each.isAtPrompt());
        List<RunningGeneration> stepping = new ArrayList<>();
        boolean promptTaken = false;
        for (RunningGeneration each : List.copyOf(active)) {
            boolean prompt = each.isAtPrompt();
            if (each.sitsOut() || !each.canStep() || each.isAside() || prompt && promptTaken || !active.contains(each)
                    || !prepare(each, shared)) {
                continue;
            }
            promptTaken |= prompt;
            if (each.chunk(shared) > 0) {
                extend(each, shared);
            } else {
                stepping.add(each);
            }
        }
        pass.run(stepping, (each, failure) -> end(each, each.failed(failure))).forEach(this::draw);
        cacheBytes = active.stream().mapToLong(RunningGeneration::cacheBytes).sum();
        PrefixCache prefixes = memory.prefixes();
        memoryFigures = new Memory(memory.pool().capacity(), memory.pool().used(), prefixes.pages(), prefixes.hits(), prefixes.asked(), putAside);
    }

    /** Memory for the next piece of work, if need be of those that began later; false when this one was itself put aside, or has failed. */
    private boolean prepare(RunningGeneration running, boolean shared) {
        try {
            running.open(memory);
            while (!memory.reserve(running.cache(), running.positionsAhead(shared))) {
                RunningGeneration last = active.reversed().stream().filter(each -> each == running || each.cacheBytes() > 0).findFirst()
                        .orElseThrow();
                last.putAside(memory);
                putAside++;
                LOG.debug("a generation with {} is put aside: {} pages of keys and values are in use", last.name(), memory.pool().used());
                if (last == running) {
                    return false;
                }
            }
            return true;
        } catch (Throwable failure) {
            end(running, running.failed(failure));
            return false;
        }
    }

    /** Goes on with those put aside, the first to begin first, as soon as there is room for them and a page more for everyone. */
    private void bringBack() {
        for (RunningGeneration each : List.copyOf(active)) {
            if (!each.isAside()) {
                continue;
            }
            try {
                long others = active.stream().filter(other -> other.cacheBytes() > 0).count();
                int pages = KvPool.pagesFor(each.cache().length() + 1);
                if (!memory.couldTake((int) Math.min(memory.pool().capacity(), pages + others)) || !each.bringBack()) {
                    return;
                }
            } catch (Throwable failure) {
                end(each, each.failed(failure));
            }
        }
    }

    private void extend(RunningGeneration running, boolean shared) {
        try {
            running.extend(shared, forward, memory);
        } catch (Throwable failure) {
            end(running, running.failed(failure));
        }
    }

    /** Makes a token of what it was given, unless its mask is missing: then it alone sits out. */
    private void draw(RunningGeneration running) {
        if (!running.canDraw()) {
            return;
        }
        int before = running.drawn();
        GenerationEvent end = running.take();
        synchronized (this) {
            tokens += running.drawn() - before;
            waiting.charge(running.tenant(), DRAWN_WEIGHT * (running.drawn() - before));
        }
        if (end != null) {
            end(running, end);
        }
    }

    private void end(RunningGeneration running, GenerationEvent event) {
        active.remove(running);
        running.release();
        cacheBytes = active.stream().mapToLong(RunningGeneration::cacheBytes).sum();
        synchronized (this) {
            underWay--;
            wake();
        }
        running.tellLast(event);
    }

    /**
     * Accepts nothing more and waits for what was accepted.
     *
     * @return whether all of it ended in time
     */
    public synchronized boolean drain(Duration patience) throws InterruptedException {
        draining = true;
        long deadline = System.nanoTime() + patience.toNanos();
        while (load() > 0) {
            long left = deadline - System.nanoTime();
            if (left <= 0) {
                return false;
            }
            wait(Math.ceilDiv(left, 1_000_000L));
        }
        return true;
    }

    /** Cancels what runs or waits, and returns when all of it is over and its memory freed. */
    @Override
    public void close() {
        synchronized (this) {
            closing = true;
            wake();
        }
        if (Thread.currentThread() == thread) {
            return;
        }
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException later) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
