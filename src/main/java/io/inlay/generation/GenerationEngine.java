package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.function.Consumer;

/**
 * Runs the generations of one model on one thread, which gives each its turn: at most one prompt is taken in, then each generation under
 * way makes one token. All share the base; each brings its own delta. This is the seam for batching: a turn sees all that could go into
 * one pass.
 *
 * <p>Of the requests beyond {@link Limits#concurrent} none holds memory: a delta is asked for when its request's turn has come.
 */
public final class GenerationEngine implements AutoCloseable {

    private final LlamaModel model;
    private final Sequences sequences;
    private final DeltaResidency residency;
    private final Limits limits;
    private final Thread thread;
    private final Queue<RunningGeneration> waiting = new ArrayDeque<>();
    /** Touched by the engine's thread only. */
    private final List<RunningGeneration> active = new ArrayList<>();
    private int underWay;
    private boolean news;
    private boolean draining;
    private boolean closing;
    private long tokens;
    private volatile long cacheBytes;

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

    /** Closes neither model nor residency. */
    public GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits) {
        this(model, residency, limits, new LlamaSequences(model));
    }

    GenerationEngine(LlamaModel model, DeltaResidency residency, Limits limits, Sequences sequences) {
        this.model = model;
        this.sequences = sequences;
        this.residency = residency;
        this.limits = limits;
        this.thread = Thread.ofPlatform().name("generation " + model.name()).daemon().start(this::loop);
    }

    public LlamaModel model() {
        return model;
    }

    /** Generations that were accepted and have not ended. */
    public synchronized int load() {
        return underWay + waiting.size();
    }

    public synchronized Figures figures() {
        return new Figures(underWay, waiting.size(), cacheBytes, tokens);
    }

    /**
     * Accepts a request. Events reach the listener on the engine's thread, so it must not block. A listener that throws cancels its own
     * request.
     *
     * @throws Problem {@code CONTEXT_LENGTH_EXCEEDED}, {@code INVALID_REQUEST}, {@code OVERLOADED} or {@code UNAVAILABLE}; nothing is
     *         queued then, and the listener hears nothing
     */
    public Generation submit(GenerationRequest request, Consumer<GenerationEvent> listener) {
        requireFitting(request.prompt());
        RunningGeneration running = new RunningGeneration(model, request, listener, this::wake);
        synchronized (this) {
            if (draining || closing) {
                throw new Problem(Problem.Code.UNAVAILABLE, "the server is stopping; ask another one, or again later");
            }
            if (load() >= limits.concurrent() + limits.queued()) {
                throw new Problem(Problem.Code.OVERLOADED, load() + " requests to model " + model.name()
                        + " are being answered or waiting, which is the most that are accepted; try again later");
            }
            waiting.add(running);
            wake();
        }
        return running;
    }

    private void requireFitting(int[] prompt) {
        if (prompt.length >= model.maxContext()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the prompt has " + prompt.length + " tokens; model " + model.name()
                    + " takes " + model.maxContext() + ", the answer's included; shorten the prompt");
        }
        for (int token : prompt) {
            if (token < 0 || token >= model.config().vocabularySize()) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "the prompt has token " + token + "; model " + model.name()
                        + " has tokens 0 to " + (model.config().vocabularySize() - 1));
            }
        }
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
            sequences.close();
        }
    }

    /** Sleeps while there is nothing to do, then fills the free places; false when the engine has ended. */
    private boolean takeUp() {
        List<RunningGeneration> begun = new ArrayList<>();
        List<RunningGeneration> dropped = new ArrayList<>();
        synchronized (this) {
            while (!news && active.stream().noneMatch(RunningGeneration::canStep)) {
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
                begun.add(waiting.remove());
                underWay++;
            }
        }
        for (RunningGeneration each : dropped) {
            each.cancel();
            each.tellLast(each.step(sequences));
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

    private void turn() {
        boolean promptTaken = false;
        for (RunningGeneration each : List.copyOf(active)) {
            boolean prompt = each.isAtPrompt() && !each.isCancelled();
            if (each.canStep() && !(prompt && promptTaken)) {
                promptTaken |= prompt;
                step(each);
            }
        }
    }

    private void step(RunningGeneration running) {
        int before = running.drawn();
        GenerationEvent end = running.step(sequences);
        if (end != null) {
            active.remove(running);
            running.release();
        }
        cacheBytes = active.stream().mapToLong(RunningGeneration::cacheBytes).sum();
        synchronized (this) {
            tokens += running.drawn() - before;
            if (end != null) {
                underWay--;
                wake();
            }
        }
        if (end != null) {
            running.tellLast(end);
        }
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
