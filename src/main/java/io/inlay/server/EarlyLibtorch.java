package io.inlay.server;

import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.tensor.Libtorch;

/** libtorch for the whole server, loaded while another core starts Quarkus: each of them takes the better part of a second. */
final class EarlyLibtorch {

    private static Libtorch torch;

    private EarlyLibtorch() {
    }

    /** Loads it on a thread of its own. */
    static void begin() {
        Thread.ofPlatform().daemon().name("load libtorch").start(() -> {
            try {
                get();
                // The first binding of the kernels' functions makes the JVM generate code, which every later one uses.
                CpuKernels.best();
            } catch (Problem _) {
                // Whoever needs it tries again and reports what is wrong.
            }
        });
    }

    /**
     * Waits where it is being loaded, loads it where it is not.
     *
     * @throws Problem {@code UNAVAILABLE} where there is none
     */
    static synchronized Libtorch get() {
        if (torch == null) {
            torch = Libtorch.load();
        }
        return torch;
    }
}
