package io.inlay.kernels;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Memory for what launches leave to the next ones. Those who take the same sizes in the same order, and give them back so, get the same
 * addresses each time. What is given back may be taken again at once, since launches run one after another. Confined to one thread at a time.
 */
final class ScratchSlabs implements AutoCloseable {

    private static final long ALIGNMENT = 256;
    private static final long LEAST = 4 << 20;

    private final CudaLauncher launcher;
    private final List<DeviceBuffer> slabs = new ArrayList<>();
    private final Map<Long, Deque<Long>> free = new HashMap<>();
    private int slab;
    private long taken;

    ScratchSlabs(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    /** From here on all of it is free again; what was launched before may still use it. */
    void begin() {
        free.clear();
        slab = 0;
        taken = 0;
    }

    /** A power of two of bytes, so that what grows a little stays where it is. */
    DeviceBuffer take(long bytes) {
        long size = Math.max(ALIGNMENT, Long.highestOneBit(Math.max(1, bytes - 1)) << 1);
        Deque<Long> given = free.computeIfAbsent(size, _ -> new ArrayDeque<>());
        return new DeviceBuffer(given.isEmpty() ? more(size) : given.removeLast(), bytes, given::addLast);
    }

    private long more(long size) {
        while (slab < slabs.size() && slabs.get(slab).bytes() - taken < size) {
            slab++;
            taken = 0;
        }
        if (slab == slabs.size()) {
            slabs.add(launcher.buffer(Math.max(size, LEAST)));
        }
        long address = slabs.get(slab).address() + taken;
        taken += size;
        return address;
    }

    @Override
    public void close() {
        slabs.forEach(DeviceBuffer::close);
        slabs.clear();
        begin();
    }
}
