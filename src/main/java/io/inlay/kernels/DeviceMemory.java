package io.inlay.kernels;

/** An allocator of a device's memory, in the order of what runs on its current stream. Thread-safe. */
interface DeviceMemory extends AutoCloseable {

    /** Aligned to 256 bytes, its contents undefined. */
    long allocate(long bytes);

    /** Gives memory back; what was launched before may still use it. After {@link #close} nothing is left to give. */
    void free(long address);

    /** Gives back what is left. */
    @Override
    void close();
}
