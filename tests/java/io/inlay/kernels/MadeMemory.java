package io.inlay.kernels;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;

/**
 * Memory of the made driver, handed out as libtorch's allocator does: what is given back is at once the next one's of its size, whatever
 * was launched on it, and none goes back to the driver before {@link #empty}.
 */
final class MadeMemory implements DeviceMemory {

    private final int device;
    /** As libtorch does from the first tensor on. */
    private boolean retainsContext;
    private final Map<Long, Long> taken = new HashMap<>();
    private final Map<Long, Long> sizes = new HashMap<>();
    private final Map<Long, Deque<Long>> free = new HashMap<>();

    MadeMemory(int device) {
        this.device = device;
    }

    @Override
    public synchronized long allocate(long bytes) {
        Deque<Long> given = free.computeIfAbsent(bytes, _ -> new ArrayDeque<>());
        long address = given.isEmpty() ? more(bytes) : given.removeLast();
        taken.put(address, bytes);
        return address;
    }

    private long more(long bytes) {
        MadeGpu.enter(device);
        if (retainsContext) {
            MadeGpu.must("cuDevicePrimaryCtxRelease_v2", device);
        }
        retainsContext = true;
        long address = MadeGpu.made("cuMemAlloc_v2", Math.max(1, bytes));
        sizes.put(address, bytes);
        return address;
    }

    @Override
    public synchronized void free(long address) {
        free.get(taken.remove(address)).addLast(address);
    }

    /** What was taken and not given back. */
    synchronized int held() {
        return taken.size();
    }

    @Override
    public synchronized void close() {
        taken.keySet().forEach(each -> free.get(sizes.get(each)).addLast(each));
        taken.clear();
    }

    /** Gives all of it to the driver, once nothing is launched. */
    synchronized void empty() {
        if (!retainsContext) {
            return;
        }
        MadeGpu.enter(device);
        MadeGpu.must("cuCtxSynchronize");
        for (long address : sizes.keySet()) {
            MadeGpu.must("cuMemFree_v2", address);
        }
        sizes.clear();
        free.clear();
        // Its own, and the one of coming here.
        MadeGpu.must("cuDevicePrimaryCtxRelease_v2", device);
        MadeGpu.must("cuDevicePrimaryCtxRelease_v2", device);
        retainsContext = false;
    }

    /** Lets the context go that a fault has made useless, with what it has. */
    synchronized void abandon() {
        MadeGpu.must("cuDevicePrimaryCtxRelease_v2", device);
    }
}
