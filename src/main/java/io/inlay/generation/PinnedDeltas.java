package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.store.DeltaVersion;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Deltas that are in memory from the server's start on, and stay: each is a lease that is not given back. What a name means is looked at
 * again now and then, so that a pin follows its alias or the task's latest version; the old version is let go of once the new one is there.
 */
public final class PinnedDeltas implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(PinnedDeltas.class);
    private static final Duration SOON = Duration.ofMillis(50);

    private final ModelCatalog catalog;
    private final Duration between;
    private final Map<Pin, Held> held = new ConcurrentHashMap<>();
    private final List<Thread> threads;
    private volatile boolean closed;

    /**
     * A delta by its tenant and the name that the tenant has for it.
     *
     * @param merged whether it is served merged
     */
    public record Pin(String tenant, String model, boolean merged) {

        /** Of {@code tenant/base:task}, {@code tenant/base:task@number} or {@code tenant/base:task@alias}. */
        public static Pin parse(String text, boolean merged) {
            int slash = text.indexOf('/');
            if (slash < 1 || text.indexOf(':') < slash) {
                throw new Problem(Problem.Code.INVALID_REQUEST, "'" + text + "' in inlay.deltas." + (merged ? "merged" : "pinned")
                        + " names no delta; write tenant/base:task, tenant/base:task@number or tenant/base:task@alias");
            }
            return new Pin(text.substring(0, slash), text.substring(slash + 1), merged);
        }

        private String base() {
            return model.substring(0, model.indexOf(':'));
        }
    }

    private record Held(DeltaVersion version, DeltaResidency.Lease lease) {
    }

    /**
     * Begins to load the pins; returns at once. Those of a model that is still loading follow when it is ready.
     *
     * @param between two looks at what a name means
     */
    public PinnedDeltas(ModelCatalog catalog, List<Pin> pins, Duration between) {
        this.catalog = catalog;
        this.between = between;
        this.threads = pins.stream().map(pin -> Thread.ofVirtual().name("pin " + pin.model()).start(() -> keep(pin))).toList();
    }

    /** Whether a version is pinned and in memory. */
    public boolean holds(DeltaVersion version) {
        return held.values().stream().anyMatch(each -> each.version().equals(version));
    }

    private void keep(Pin pin) {
        String told = "";
        while (!closed) {
            try {
                if (catalog.names().contains(pin.base()) && catalog.status(pin.base()) == ModelCatalog.Status.LOADING) {
                    Thread.sleep(SOON);
                    continue;
                }
                refresh(pin);
                told = "";
            } catch (InterruptedException stopped) {
                return;
            } catch (RuntimeException failure) {
                if (failure instanceof Problem problem && problem.code() == Problem.Code.MODEL_NOT_FOUND) {
                    letGo(pin);
                }
                String why = String.valueOf(failure.getMessage());
                if (!why.equals(told) && !closed) {
                    LOG.warn("{} of {} is to be pinned and cannot be loaded now: {}", pin.model(), pin.tenant(), why);
                }
                told = why;
            }
            try {
                Thread.sleep(between);
            } catch (InterruptedException stopped) {
                return;
            }
        }
    }

    private void refresh(Pin pin) throws InterruptedException {
        ModelCatalog.Resolved resolved = catalog.resolve(pin.tenant(), pin.model());
        DeltaVersion version = resolved.delta().orElseThrow();
        Held before = held.get(pin);
        if (before != null && before.version().equals(version)) {
            return;
        }
        DeltaResidency residency = resolved.engine().residency();
        if (pin.merged()) {
            residency.merge(version);
        }
        CompletableFuture<DeltaResidency.Lease> loading = residency.acquire(version);
        try {
            held.put(pin, new Held(version, loading.get()));
        } catch (java.util.concurrent.ExecutionException failure) {
            throw failure.getCause() instanceof RuntimeException known ? known : new CompletionException(failure.getCause());
        } catch (InterruptedException stopped) {
            if (!loading.cancel(false)) {
                loading.join().close();
            }
            throw stopped;
        }
        LOG.info("{} of {} is pinned{}", version.model(), version.tenant(), pin.merged() ? ", merged" : "");
        if (before != null) {
            before.lease().close();
        }
    }

    /** What was deleted stays in memory for nobody. */
    private void letGo(Pin pin) {
        Held gone = held.remove(pin);
        if (gone != null) {
            gone.lease().close();
        }
    }

    /** Lets go of all of them. */
    @Override
    public void close() {
        closed = true;
        threads.forEach(Thread::interrupt);
        for (Thread each : threads) {
            boolean ended = false;
            while (!ended) {
                try {
                    each.join();
                    ended = true;
                } catch (InterruptedException later) {
                    each.interrupt();
                }
            }
        }
        held.values().forEach(each -> each.lease().close());
        held.clear();
    }
}
