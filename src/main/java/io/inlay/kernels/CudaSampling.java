package io.inlay.kernels;

import io.inlay.tensor.Tensor;

/** Launches of kernels/sampling.cu. */
final class CudaSampling {

    private static final int THREADS = 1024;

    private final CudaLauncher launcher;

    CudaSampling(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    void argmax(Tensor logits, Tensor ids) {
        CudaLaunch.of("argmax", logits).grid(logits.size(0)).block(THREADS).matrix(logits).integer(logits.dim(1)).tensor(ids).on(launcher);
    }

    void logSoftmax(Tensor logits, Tensor out) {
        CudaLaunch.of("log_softmax", logits).grid(logits.size(0)).block(THREADS).matrix(logits).integer(logits.dim(1)).matrix(out)
                .on(launcher);
    }
}
