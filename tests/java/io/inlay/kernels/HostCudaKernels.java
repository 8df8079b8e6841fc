package io.inlay.kernels;

import io.inlay.tensor.Tensor;

/** The CUDA kernels that there are, run on the CPU; linears and attention are the reference's. */
final class HostCudaKernels extends CudaKernels {

    private final Kernels rest = new ScalarKernels();

    HostCudaKernels(CudaLauncher launcher) {
        super(launcher);
    }

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        rest.linear(x, w, tiles, y);
    }

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        rest.decodeAttention(q, keys, values, length, scale, out);
    }

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        rest.causalAttention(q, k, v, starts, scale, out, logSumExp);
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        rest.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, scale, gradQ, gradK, gradV);
    }
}
