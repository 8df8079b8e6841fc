package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Random;

/** A launcher on the first of {@link MadeGpu}'s GPUs, with memory that is the device's alone. */
final class MadeDevice implements AutoCloseable {

    private static final Libtorch TORCH = Libtorch.load();

    private final Random random = new Random(3);
    private final Scope scope = new Scope(TORCH);
    private final MadeMemory memory = new MadeMemory(0);
    private final JCudaLauncher launcher;
    private volatile long stream;

    MadeDevice() {
        MadeGpu.usual();
        launcher = JCudaLauncher.open(memory, 0, () -> stream);
    }

    JCudaLauncher launcher() {
        return launcher;
    }

    MadeMemory memory() {
        return memory;
    }

    Scope scope() {
        return scope;
    }

    /** The stream that launches and copies go to from now on; 0 is the default one. */
    void computeOn(long other) {
        stream = other;
    }

    Tensor normal(DType type, long... sizes) {
        int count = 1;
        for (long size : sizes) {
            count *= (int) size;
        }
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return scope.copyTo(scope.of(Device.CPU, values, sizes), type, Device.CPU);
    }

    /** The same values in memory of the device, which the host cannot read. */
    Tensor there(Tensor host) {
        long address = launcher.allocate(host.bytes());
        launcher.upload(host.segment(), address);
        synchronized (scope) {
            return scope.wrap(MemorySegment.ofAddress(address).reinterpret(host.bytes()), host.dtype(), host.sizes());
        }
    }

    /** What is there by now. */
    float[] back(Tensor device) {
        try (Scope own = new Scope(TORCH)) {
            Tensor host = own.empty(device.dtype(), Device.CPU, device.sizes());
            launcher.download(device.address(), host.segment());
            return Scope.floats(TORCH, host);
        }
    }

    Tensor floats(float... values) {
        synchronized (scope) {
            return scope.of(Device.CPU, values, 1, values.length);
        }
    }

    static float[] valuesOf(Tensor host) {
        return Scope.floats(TORCH, host);
    }

    /** Adds a row to itself. */
    static CudaLaunch twice(Tensor x) {
        return CudaLaunch.of("add_f32_f32").grid(1).block(32).address(x.address()).number(x.elements()).address(x.address())
                .number(x.elements()).number(1).number(x.elements());
    }

    /** Everything must have been given back. */
    @Override
    public void close() {
        launcher.close();
        memory.empty();
        assertThat(MadeGpu.held()).isEqualTo(MadeGpu.Held.NOTHING);
        scope.close();
    }
}
