package io.inlay.kernels;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Launches that come again, one after another with the same arguments, as one graph: what a driver checks and hands over for each launch it
 * does once, and a GPU goes from kernel to kernel without waiting for the host. A step of decoding makes the same launches as the step
 * before; what differs (tokens, positions, pages) lies in the device's memory.
 *
 * <p>Nothing is ever assumed to be the same: within {@link #together} launches are collected, compared with what was seen before in all
 * that they are, and only then started, as a graph from their third time on. Others are launched one by one, so that what comes once costs
 * no graph.
 *
 * <p>Whoever holds this object's monitor while he changes what several launches read, and launches, is not disturbed by other threads:
 * {@link #together} holds it from the first launch that it collects until all are started.
 */
final class GraphedLauncher implements CudaLauncher {

    private static final Logger LOG = LoggerFactory.getLogger(GraphedLauncher.class);

    /** Sequences that are remembered, those without a graph included; the one used longest ago is forgotten first. */
    static final int REMEMBERED = 512;

    /** Launches from which a graph pays. */
    private static final int FEWEST = 3;

    private final CudaLauncher launcher;
    private final ThreadLocal<Collection> collecting = new ThreadLocal<>();
    private final ScratchSlabs slabs;
    private final Map<List<CudaLaunch>, Sequence> seen = new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<List<CudaLaunch>, Sequence> eldest) {
            if (size() <= REMEMBERED) {
                return false;
            }
            eldest.getValue().close();
            return true;
        }
    };
    private boolean graphs = true;

    GraphedLauncher(CudaLauncher launcher) {
        this.launcher = launcher;
        this.slabs = new ScratchSlabs(launcher);
    }

    /** What a thread has launched and not yet started, and the memory that it has given back meanwhile. */
    private static final class Collection {
        private final List<CudaLaunch> launches = new ArrayList<>();
        private final List<Long> freed = new ArrayList<>();
    }

    /** How often launches came in this order, and their graph once there is one. */
    private static final class Sequence {
        private int times;
        private CudaGraph graph;

        private void close() {
            if (graph != null) {
                graph.close();
            }
        }
    }

    /**
     * Runs work whose launches belong together; they start when it ends, or when it copies to or from the device. What it has not started
     * when it throws is not launched.
     */
    void together(Runnable work) {
        if (collecting.get() != null) {
            work.run();
            return;
        }
        synchronized (this) {
            Collection collection = new Collection();
            collecting.set(collection);
            slabs.begin();
            try {
                work.run();
                start(collection);
            } finally {
                collecting.remove();
                collection.freed.forEach(launcher::free);
            }
        }
    }

    private void start(Collection collection) {
        List<CudaLaunch> launches = List.copyOf(collection.launches);
        collection.launches.clear();
        if (launches.size() < FEWEST) {
            launches.forEach(launcher::launch);
            return;
        }
        Sequence sequence = seen.computeIfAbsent(launches, _ -> new Sequence());
        if (++sequence.times > 2 && sequence.graph == null && graphs) {
            sequence.graph = made(launches);
        }
        if (sequence.graph == null) {
            launches.forEach(launcher::launch);
        } else {
            sequence.graph.launch();
        }
    }

    /** Null where the device makes none. */
    private CudaGraph made(List<CudaLaunch> launches) {
        try {
            return launcher.graph(launches);
        } catch (IllegalStateException refused) {
            graphs = false;
            LOG.warn("launches go one by one to {}, no graphs could be made: {}", launcher.name(), refused.getMessage());
            return null;
        }
    }

    /** Starts what was collected before work of another kind. */
    private void startCollected() {
        Collection collection = collecting.get();
        if (collection != null) {
            start(collection);
        }
    }

    @Override
    public String name() {
        return launcher.name();
    }

    @Override
    public void launch(CudaLaunch launch) {
        Collection collection = collecting.get();
        if (collection == null) {
            launcher.launch(launch);
        } else {
            collection.launches.add(launch);
        }
    }

    @Override
    public CudaGraph graph(List<CudaLaunch> launches) {
        return launcher.graph(launches);
    }

    @Override
    public long allocate(long bytes) {
        return launcher.allocate(bytes);
    }

    @Override
    public void free(long address) {
        Collection collection = collecting.get();
        if (collection == null) {
            launcher.free(address);
        } else {
            collection.freed.add(address);
        }
    }

    /** Among what is collected it lies at the same address each time. */
    @Override
    public DeviceBuffer scratch(long bytes) {
        return collecting.get() == null ? buffer(bytes) : slabs.take(bytes);
    }

    @Override
    public void upload(MemorySegment from, long to) {
        startCollected();
        launcher.upload(from, to);
    }

    @Override
    public void download(long from, MemorySegment to) {
        startCollected();
        launcher.download(from, to);
    }

    @Override
    public void close() {
        synchronized (this) {
            seen.values().forEach(Sequence::close);
            seen.clear();
            slabs.close();
        }
        launcher.close();
    }
}
