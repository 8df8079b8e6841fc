package io.inlay.kernels;

import java.lang.foreign.MemorySegment;

/**
 * Where CUDA kernels run: a GPU, or in tests the CPU. What is launched, copied and freed happens in that order, later than the call unless
 * said otherwise. Addresses are the device's. Thread-safe.
 */
public interface CudaLauncher extends AutoCloseable {

    /** For logs: the device's name. */
    String name();

    /** Starts a kernel; a failure may show in a later call only. */
    void launch(CudaLaunch launch);

    /** Memory of the device, aligned to 256 bytes, its contents undefined. */
    long allocate(long bytes);

    /** Gives memory back; what was launched before may still use it. */
    void free(long address);

    /** Copies to the device; {@code from}, native memory, may be changed once the call returns. */
    void upload(MemorySegment from, long to);

    /** Copies from the device what was launched before has made, and waits for it. */
    void download(long from, MemorySegment to);

    @Override
    void close();

    /** Memory for the length of a block of code. */
    default DeviceBuffer buffer(long bytes) {
        return new DeviceBuffer(this, allocate(bytes), bytes);
    }

    /** A buffer with these bytes. */
    default DeviceBuffer copyOf(MemorySegment bytes) {
        DeviceBuffer copy = buffer(bytes.byteSize());
        upload(bytes, copy.address());
        return copy;
    }
}
