package io.inlay.kernels;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Counts what goes to the device. */
final class CountedLauncher implements CudaLauncher {

    private final CudaLauncher launcher;
    private final List<String> launched = new ArrayList<>();
    private int uploads;

    CountedLauncher(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    /** The kernels, in their order. */
    synchronized List<String> launched() {
        return List.copyOf(launched);
    }

    /** Copies to the device. */
    synchronized int uploads() {
        return uploads;
    }

    synchronized void forget() {
        launched.clear();
        uploads = 0;
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
