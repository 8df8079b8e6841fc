package io.inlay.kernels;

/** Memory of a device that is given back on close; kernels launched before that may still use it. */
record DeviceBuffer(CudaLauncher launcher, long address, long bytes) implements AutoCloseable {

    @Override
    public void close() {
        launcher.free(address);
    }
}
