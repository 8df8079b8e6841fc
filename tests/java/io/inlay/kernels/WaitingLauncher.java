package io.inlay.kernels;

import io.inlay.tensor.HostAsCuda;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Optional;

/**
 * A launcher of a process of {@link MadeGpu}'s beside a libtorch that computes at once, on memory of the host: what was launched is waited
 * for, but for what goes out in one graph or one operation.
 */
final class WaitingLauncher implements CudaLauncher {

    private final JCudaLauncher launcher;
    private final MadeMemory memory;

    private WaitingLauncher(JCudaLauncher launcher, MadeMemory memory) {
        this.launcher = launcher;
        this.memory = memory;
    }

    static WaitingLauncher open() {
        MadeGpu.withHostMemory();
        MadeMemory memory = new MadeMemory(0);
        return new WaitingLauncher(JCudaLauncher.open(memory, 0, () -> 0), memory);
    }

    /** Kernels over operands of the host, which are waited for when an operation has launched all that it is. */
    static TestedCuda tested() {
        MadeGpu.withHostMemory();
        JCudaLauncher launcher = JCudaLauncher.open(new MadeMemory(0), 0, () -> 0);
        Kernels kernels = new CudaKernels(launcher);
        Kernels waiting = (Kernels) Proxy.newProxyInstance(Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class},
                (_, method, arguments) -> {
                    try {
                        Object result = method.invoke(kernels, arguments);
                        MadeGpu.waitForAll(0);
                        return result;
                    } catch (InvocationTargetException failure) {
                        throw failure.getCause();
                    }
                });
        return new TestedCuda(OnDevice.of(HostAsCuda.load(), HostAsCuda.DEVICE, waiting), Optional.empty());
    }

    @Override
    public String name() {
        return launcher.name();
    }

    @Override
    public void launch(CudaLaunch launch) {
        launcher.launch(launch);
        MadeGpu.waitForAll(0);
    }

    @Override
    public CudaGraph graph(List<CudaLaunch> launches) {
        CudaGraph graph = launcher.graph(launches);
        return new CudaGraph() {
            @Override
            public void launch() {
                graph.launch();
                MadeGpu.waitForAll(0);
            }

            @Override
            public void close() {
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
        launcher.upload(from, to);
    }

    @Override
    public void download(long from, MemorySegment to) {
        launcher.download(from, to);
    }

    @Override
    public void close() {
        launcher.close();
        memory.empty();
    }
}
