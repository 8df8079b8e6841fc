package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;

/** Launches of kernels/sampling.cu. What rows are drawn with goes to the device in one copy, into memory that is kept. */
final class CudaSampling {

    private static final int THREADS = 1024;

    private final GraphedLauncher launcher;
    private DeviceBuffer copy;

    CudaSampling(GraphedLauncher launcher) {
        this.launcher = launcher;
    }

    void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        if (draws.isEmpty()) {
            return;
        }
        // No other rows' settings may take these ones' place before the launch.
        synchronized (launcher) {
            upload(draws);
            CudaLaunch.of("draw", logits).grid(draws.size()).block(THREADS).matrix(logits).integer(logits.dim(1)).address(copy.address())
                    .tensor(ids).on(launcher);
        }
    }

    private void upload(List<Draw> draws) {
        long bytes = DrawList.BYTES * draws.size();
        if (copy == null || copy.bytes() < bytes) {
            if (copy != null) {
                copy.close();
                copy = null;
            }
            copy = launcher.buffer(2 * bytes);
        }
        try (Arena arena = Arena.ofConfined()) {
            launcher.upload(DrawList.of(arena, draws), copy.address());
        }
    }
}
