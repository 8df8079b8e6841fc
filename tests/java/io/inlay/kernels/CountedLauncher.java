package io.inlay.kernels;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Counts what goes to the device. */
class CountedLauncher implements CudaLauncher {

    private final CudaLauncher launcher;
    private final List<String> launched = new ArrayList<>();
    private int uploads;
    private int graphs;
    private int graphsHeld;

    CountedLauncher(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    /** The kernels, in their order. */
    synchronized List<String> launched() {
        return List.copyOf(launched);
    }

    /** Graphs that were launched; their kernels are among {@link #launched} too. */
    synchronized int graphs() {
        return graphs;
    }

    /** Graphs that were made and not given back. */
    synchronized int graphsHeld() {
        return graphsHeld;
    }

    /** Copies to the device. */
    synchronized int uploads() {
        return uploads;
    }

    synchronized void forget() {
        launched.clear();
        uploads = 0;
        graphs = 0;
    }

    @Override
    public String name() {
        return launcher.name();
    }

    @Override
    public void launch(CudaLaunch launch) {
        synchronized (this) {
            launched.add(launch.kernel());
        }
        launcher.launch(launch);
    }

    @Override
    public CudaGraph graph(List<CudaLaunch> launches) {
        CudaGraph graph = launcher.graph(launches);
        synchronized (this) {
            graphsHeld++;
        }
        return new CudaGraph() {
            @Override
            public void launch() {
                synchronized (CountedLauncher.this) {
                    graphs++;
                    launches.forEach(each -> launched.add(each.kernel()));
                }
                graph.launch();
            }

            @Override
            public void close() {
                synchronized (CountedLauncher.this) {
                    graphsHeld--;
                }
                graph.close();
            }
        };
    }

    @Override
    public long allocate(long bytes) {
        return launcher.allocate(bytes);
    }

    @Override
    public void free(long address) {
        launcher.free(address);
    }

    @Override
    public void upload(MemorySegment from, long to) {
        synchronized (this) {
            uploads++;
        }
        launcher.upload(from, to);
    }

    @Override
    public void download(long from, MemorySegment to) {
        launcher.download(from, to);
    }

    @Override
    public void close() {
        launcher.close();
    }
}
