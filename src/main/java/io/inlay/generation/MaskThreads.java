package io.inlay.generation;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Where masks of grammars are worked out beside an engine's passes: threads of its own, since the work is long and never waits, which
 * virtual threads are not for. Each generation has at most one piece of work here.
 */
final class MaskThreads {

    /** More would take cores from the passes that all generations wait for; with one, a long mask would hold the others' up. */
    private static final int SHARE_OF_CORES = 4;
    private static final int LEAST = 2;

    private MaskThreads() {
    }

    /** Threads that are there from the start, and do not keep a process alive. */
    static ExecutorService of(String model) {
        int threads = Math.max(LEAST, Runtime.getRuntime().availableProcessors() / SHARE_OF_CORES);
        ThreadPoolExecutor made = new ThreadPoolExecutor(threads, threads, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>(),
                Thread.ofPlatform().name("masks " + model + " ", 0).daemon().factory());
        made.prestartAllCoreThreads();
        return made;
    }
}
