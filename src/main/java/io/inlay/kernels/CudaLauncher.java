package io.inlay.kernels;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Where CUDA kernels run: a GPU, or in tests the CPU. What is launched, copied and freed happens in that order, later than the call unless
 * said otherwise. Addresses are the device's. Thread-safe.
 */
public interface CudaLauncher extends AutoCloseable {

    /** For logs: the device's name. */
    String name();

    /** Starts a kernel; a failure may show in a later call only. */
    void launch(CudaLaunch launch);

    /**
     * Makes these launches, none of which is started by it, ready to be started together; all were launched before.
     *
     * @throws IllegalStateException with the driver's words
     */
    CudaGraph graph(List<CudaLaunch> launches);

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

    /** {@link #allocate} for the length of a block of code, or until it is closed. */
    default DeviceBuffer buffer(long bytes) {
        return new DeviceBuffer(allocate(bytes), bytes, this::free);
    }

    /** A buffer for what one launch leaves to the next, given back on the same thread once both are launched. */
    default DeviceBuffer scratch(long bytes) {
        return buffer(bytes);
    }

    /** A buffer with these bytes. */
    default DeviceBuffer copyOf(MemorySegment bytes) {
        DeviceBuffer copy = buffer(bytes.byteSize());
        upload(bytes, copy.address());
        return copy;
    }
}
