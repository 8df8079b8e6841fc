package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.LoadedDelta;
import java.lang.foreign.Arena;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * Deltas of one model in memory: decoded on demand, each once however many ask for it at the same time, kept while anyone uses them, and
 * then by last use within a budget of bytes. Thread-safe.
 */
public final class DeltaResidency implements AutoCloseable {

    private final LlamaModel model;
    private final DeltaStore store;
    private final long budget;
    private final Map<String, Resident> residents = new LinkedHashMap<>(16, 0.75f, true);
    private long bytes;
    private long hits;
    private long loads;

    /** A delta in memory, or on its way there. Guarded by the residency's lock. */
    private static final class Resident {
        private final CompletableFuture<Loaded> loaded = new CompletableFuture<>();
        private int leases;
    }

    private record Loaded(Arena arena, WeightOverlay overlay) {

        void free() {
            overlay.close();
            arena.close();
        }
    }

    /** The right to use an overlay; it stays in memory until closed. */
    public interface Lease extends AutoCloseable {

        WeightOverlay overlay();

        @Override
        void close();
    }

    /** What is in memory. */
    public record Figures(int resident, long bytes, long hits, long loads) {
    }

    /**
     * @param budget bytes of blocks to keep beyond use; what is in use may exceed it
     */
    public DeltaResidency(LlamaModel model, DeltaStore store, long budget) {
        this.model = model;
        this.store = store;
        this.budget = budget;
    }

    /** A lease of the version, complete once it is in memory; fails with a {@link Problem}. Loading runs on a thread of its own. */
    public CompletableFuture<Lease> acquire(DeltaVersion version) {
        String key = version.model() + " " + version.tenant() + " " + version.digest();
        Resident resident;
        boolean first = false;
        synchronized (this) {
            resident = residents.get(key);
            if (resident == null) {
                resident = new Resident();
                residents.put(key, resident);
                loads++;
                first = true;
            } else {
                hits++;
            }
            resident.leases++;
        }
        Resident found = resident;
        if (first) {
            Thread.ofVirtual().name("load " + version.model()).start(() -> load(key, found, version));
        }
        return found.loaded.handle((loaded, failure) -> {
            if (failure != null) {
                release(found);
                throw new CompletionException(problem(version, failure));
            }
            return new HeldLease(found, loaded.overlay());
        });
    }

    private static Problem problem(DeltaVersion version, Throwable failure) {
        Throwable cause = failure instanceof CompletionException wrapped ? wrapped.getCause() : failure;
        return cause instanceof Problem problem ? problem
                : new Problem(Problem.Code.INTERNAL, version.model() + " could not be loaded: " + cause, cause);
    }

    private void load(String key, Resident resident, DeltaVersion version) {
        Arena arena = Arena.ofShared();
        try {
            LoadedDelta delta = store.load(version, model.fingerprint(), model, arena);
            WeightOverlay overlay = WeightOverlay.of(model, delta.blocks());
            synchronized (this) {
                bytes += overlay.bytes();
            }
            resident.loaded.complete(new Loaded(arena, overlay));
        } catch (Throwable failure) {
            arena.close();
            synchronized (this) {
                residents.remove(key, resident);
            }
            resident.loaded.completeExceptionally(failure);
        }
    }

    private final class HeldLease implements Lease {
        private final Resident resident;
        private final WeightOverlay overlay;
        private boolean closed;

        private HeldLease(Resident resident, WeightOverlay overlay) {
            this.resident = resident;
            this.overlay = overlay;
        }

        @Override
        public WeightOverlay overlay() {
            return overlay;
        }

        @Override
        public void close() {
            synchronized (DeltaResidency.this) {
                if (closed) {
                    return;
                }
                closed = true;
            }
            release(resident);
        }
    }

    private synchronized void release(Resident resident) {
        resident.leases--;
        var oldest = residents.values().iterator();
        while (bytes > budget && oldest.hasNext()) {
            Resident candidate = oldest.next();
            if (candidate.leases == 0 && candidate.loaded.isDone() && !candidate.loaded.isCompletedExceptionally()) {
                oldest.remove();
                Loaded loaded = candidate.loaded.join();
                bytes -= loaded.overlay().bytes();
                loaded.free();
            }
        }
    }

    public synchronized Figures figures() {
        return new Figures(residents.size(), bytes, hits, loads);
    }

    /** Frees all deltas; no lease may be open. */
    @Override
    public synchronized void close() {
        for (Resident resident : residents.values()) {
            if (resident.leases > 0) {
                throw new IllegalStateException("a delta is still in use; close its leases first");
            }
            if (resident.loaded.isDone() && !resident.loaded.isCompletedExceptionally()) {
                resident.loaded.join().free();
            }
        }
        residents.clear();
        bytes = 0;
    }
}
