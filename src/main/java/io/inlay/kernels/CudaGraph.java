package io.inlay.kernels;

/** Launches in their order with their arguments, made ready by a {@link CudaLauncher} to be started in one call, as often as wanted. */
public interface CudaGraph extends AutoCloseable {

    /** Starts all of them; a failure may show in a later call only. */
    void launch();

    /** Gives the graph back; what it started goes on. */
    @Override
    void close();
}
