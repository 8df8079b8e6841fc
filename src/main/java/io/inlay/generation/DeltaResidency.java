package io.inlay.generation;

import io.inlay.Problem;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.model.LlamaModel;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.LoadedDelta;
import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Deltas of one model in memory, within a budget of bytes: decoded on demand, each once however many ask for it at the same time, never
 * freed while anyone uses it, otherwise the least recently used first. When all that is resident is in use, the next load waits for its
 * turn. Loads run on threads of their own. Thread-safe.
 */
public final class DeltaResidency implements AutoCloseable {

    private final LlamaModel model;
    private final DeltaStore store;
    private final long budget;
    private final ServingListener listener;
    /** Versions whose linears are copies with the blocks in place, from the next load on. */
    private final Set<Key> merged = ConcurrentHashMap.newKeySet();
    /** Resident or on the way, the least recently used first. */
    private final Map<Key, Resident> residents = new LinkedHashMap<>(16, 0.75f, true);
    /** Loads that wait for room, in the order in which they get it. */
    private final Queue<Resident> queue = new ArrayDeque<>();
    private long bytes;
    private long hits;
    private long loads;
    private int loading;
    private boolean closed;

    /** The tenant belongs to it: a file's claim of a digest is only proven by decoding it, so equal digests of others prove nothing. */
    private record Key(String tenant, String base, String task, int number, String digest) {

        static Key of(DeltaVersion version) {
            return new Key(version.tenant(), version.base(), version.task(), version.number(), version.digest());
        }
    }

    /** A delta in memory, or on its way there; all but the future is guarded by the residency's lock. */
    private static final class Resident {
        private final Key key;
        private final DeltaVersion version;
        /** Taken from the budget; 0 for what is merged. */
        private final long bytes;
        private final boolean merged;
        private final CompletableFuture<WeightOverlay> loaded = new CompletableFuture<>();
        private Arena arena;
        private int users;
        private boolean unwanted;

        private Resident(Key key, DeltaVersion version, long bytes, boolean merged) {
            this.key = key;
            this.version = version;
            this.bytes = bytes;
            this.merged = merged;
        }

        private boolean resident() {
            return arena != null;
        }

        private boolean idle() {
            return users == 0 && arena != null;
        }

        private void free() {
            loaded.join().close();
            arena.close();
            arena = null;
        }
    }

    /** The right to use an overlay; it stays in memory until the lease is closed. Closing twice is harmless. */
    public interface Lease extends AutoCloseable {

        WeightOverlay overlay();

        @Override
        void close();
    }

    /**
     * What is in memory, and what was asked for so far.
     *
     * @param bytes of block values, room for loads under way included
     * @param hits requests for what was resident or on its way
     */
    public record Figures(int resident, long bytes, long hits, long loads) {
    }

    /**
     * @param budget bytes of block values in memory at most
     */
    public DeltaResidency(LlamaModel model, DeltaStore store, long budget) {
        this(model, store, budget, ServingListener.NONE);
    }

    /**
     * @param budget bytes of block values in memory at most; versions that are served merged come on top
     * @param listener hears of loads
     */
    public DeltaResidency(LlamaModel model, DeltaStore store, long budget, ServingListener listener) {
        this.listener = listener;
        this.model = model;
        this.store = store;
        this.budget = budget;
        store.onErasure(this::evict);
    }

    /**
     * A lease of the version, complete once it is in memory. Cancelling the future before that gives up the claim. It fails with a
     * {@link Problem}: the store's, or {@code UNAVAILABLE} for a delta that is larger than the budget.
     */
    public CompletableFuture<Lease> acquire(DeltaVersion version) {
        store.lease(version);
        Resident resident = claim(version);
        CompletableFuture<Lease> lease = new CompletableFuture<>();
        lease.whenComplete((_, _) -> {
            if (lease.isCancelled()) {
                release(resident);
            }
        });
        resident.loaded.whenComplete((overlay, failure) -> {
            if (failure == null) {
                lease.complete(new CountedLease(resident, overlay));
            } else {
                lease.completeExceptionally(failure);
            }
        });
        return lease;
    }

    private synchronized Resident claim(DeltaVersion version) {
        if (closed) {
            throw new Problem(Problem.Code.UNAVAILABLE, "the server is stopping; ask another one, or again later");
        }
        Key key = Key.of(version);
        Resident resident = residents.get(key);
        if (resident != null) {
            hits++;
        } else {
            boolean whole = merged.contains(key);
            resident = new Resident(key, version, whole ? 0 : Math.multiplyExact(version.manifest().values(), model.dtype().bytes()),
                    whole);
            residents.put(key, resident);
            queue.add(resident);
            loads++;
            loading++;
            Resident first = resident;
            Thread.ofVirtual().name("load " + version.model()).start(() -> load(first));
        }
        resident.users++;
        return resident;
    }

    private void load(Resident resident) {
        Arena arena = Arena.ofShared();
        long start = 0;
        try {
            awaitRoom(resident);
            start = System.nanoTime();
            try {
                WeightOverlay overlay = decode(resident, arena);
                synchronized (this) {
                    resident.arena = arena;
                }
                resident.loaded.complete(overlay);
                listener.loaded(model.name(), System.nanoTime() - start, false);
            } catch (Throwable failure) {
                synchronized (this) {
                    bytes -= resident.bytes;
                }
                listener.loaded(model.name(), System.nanoTime() - start, true);
                throw failure;
            }
        } catch (Throwable failure) {
            arena.close();
            synchronized (this) {
                residents.remove(resident.key, resident);
            }
            resident.loaded.completeExceptionally(failure instanceof Problem problem ? problem : new Problem(Problem.Code.INTERNAL,
                    resident.version.model() + " could not be loaded: " + failure, failure));
        } finally {
            synchronized (this) {
                loading--;
                freeIfUnwanted(resident);
                notifyAll();
            }
        }
    }

    /** Waits until this load is the first in line and its bytes are free, and takes them. */
    private synchronized void awaitRoom(Resident resident) throws InterruptedException {
        try {
            if (resident.bytes > budget) {
                throw new Problem(Problem.Code.UNAVAILABLE, resident.version.model() + " takes " + resident.bytes
                        + " bytes in memory, more than the " + budget + " for all deltas together; raise the budget for deltas");
            }
            while (true) {
                if (closed || resident.users == 0) {
                    residents.remove(resident.key, resident);
                    throw new Problem(Problem.Code.UNAVAILABLE, resident.version.model() + " was not loaded: "
                            + (closed ? "the server is stopping; ask another one, or again later" : "nobody waits for it any more"));
                }
                if (queue.peek() == resident && makeRoom(resident.bytes)) {
                    bytes += resident.bytes;
                    return;
                }
                wait();
            }
        } finally {
            queue.remove(resident);
            notifyAll();
        }
    }

    private boolean makeRoom(long needed) {
        var oldest = residents.values().iterator();
        while (bytes + needed > budget && oldest.hasNext()) {
            Resident candidate = oldest.next();
            if (candidate.idle()) {
                oldest.remove();
                bytes -= candidate.bytes;
                candidate.free();
            }
        }
        return bytes + needed <= budget;
    }

    private WeightOverlay decode(Resident resident, Arena arena) {
        if (WeightOverlay.borrows(model) && !resident.merged) {
            return overlay(resident, arena);
        }
        // Other overlays, and those that are merged, hold copies, so the decoded blocks can go at once.
        try (Arena decoded = Arena.ofShared()) {
            return overlay(resident, decoded);
        }
    }

    private WeightOverlay overlay(Resident resident, Arena arena) {
        DeltaVersion version = resident.version;
        LoadedDelta delta = store.load(version, model.fingerprint(), model, arena);
        long values = delta.blocks().stream().mapToLong(TensorBlocks::count).sum()
                + delta.tensors().stream().mapToLong(WholeTensor::count).sum();
        if (values != version.manifest().values()) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, version.model() + " has " + values + " values, its manifest says "
                    + version.manifest().values() + "; the file is damaged, restore it from a copy");
        }
        return resident.merged ? WeightOverlay.merged(model, delta.blocks(), delta.tensors())
                : WeightOverlay.of(model, delta.blocks(), delta.tensors());
    }

    private final class CountedLease implements Lease {
        private final Resident resident;
        private final WeightOverlay overlay;
        private boolean ended;

        private CountedLease(Resident resident, WeightOverlay overlay) {
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
                if (ended) {
                    return;
                }
                ended = true;
            }
            release(resident);
        }
    }

    private synchronized void release(Resident resident) {
        resident.users--;
        freeIfUnwanted(resident);
        notifyAll();
    }

    /** Frees all of a tenant that nobody uses; what is in use goes with its last lease. */
    private synchronized void evict(String tenant) {
        residents.values().stream().filter(each -> each.key.tenant().equals(tenant)).toList().forEach(each -> {
            each.unwanted = true;
            freeIfUnwanted(each);
        });
        notifyAll();
    }

    private void freeIfUnwanted(Resident resident) {
        if ((closed || resident.unwanted) && resident.idle()) {
            free(resident);
        }
    }

    private void free(Resident resident) {
        residents.remove(resident.key, resident);
        bytes -= resident.bytes;
        resident.free();
    }

    /**
     * Serves a version merged, from its next load on: every linear that it has blocks in as a copy with the blocks in place, without tile
     * tables. The same bits as tiled, for the memory of those linears, which no budget bounds.
     */
    public void merge(DeltaVersion version) {
        merged.add(Key.of(version));
    }

    /**
     * How a version lies in memory.
     *
     * @param resident whether it is there
     * @param loading whether it is on its way
     * @param merged whether it is served merged, or will be
     * @param users leases of it, pins included
     * @param bytes that it takes, 0 while it is not there
     */
    public record Standing(boolean resident, boolean loading, boolean merged, int users, long bytes) {
    }

    public synchronized Standing standing(DeltaVersion version) {
        Resident found = residents.get(Key.of(version));
        if (found == null) {
            return new Standing(false, false, merged.contains(Key.of(version)), 0, 0);
        }
        return new Standing(found.resident(), !found.resident(), found.merged, found.users,
                found.resident() ? found.loaded.join().bytes() : 0);
    }

    public synchronized Figures figures() {
        int resident = (int) residents.values().stream().filter(Resident::resident).count();
        return new Figures(resident, bytes, hits, loads);
    }

    /** Bytes of versions that are served merged, which are not among the figures' own. */
    public synchronized long mergedBytes() {
        return residents.values().stream().filter(each -> each.merged && each.resident()).mapToLong(each -> each.loaded.join().bytes())
                .sum();
    }

    /** Waits for loads under way and frees what nobody uses; what is in use is freed when its last lease is closed. */
    @Override
    public synchronized void close() {
        closed = true;
        notifyAll();
        boolean interrupted = false;
        while (loading > 0) {
            try {
                wait();
            } catch (InterruptedException later) {
                interrupted = true;
            }
        }
        residents.values().stream().filter(Resident::idle).toList().forEach(this::free);
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
