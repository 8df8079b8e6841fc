package io.inlay.kernels;

import io.inlay.tensor.Tensor;

/**
 * The kernels of kernels/*.cu: operands are checked here, geometry and arguments are made by one class for each kind of kernel, and a
 * {@link CudaLauncher} runs them. Results are ready for what is launched later; {@link #sumOfSquares} alone waits.
 *
 * <p>Ids, positions and targets that lie on a GPU are not read before the launch: where one is out of range its row becomes NaN.
 */
public abstract class CudaKernels implements Kernels {

    private final String name;
    private final CudaSums sums;

    CudaKernels(CudaLauncher launcher) {
        this.name = "cuda on " + launcher.name();
        this.sums = new CudaSums(launcher);
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public double sumOfSquares(Tensor x) {
        Operands.sumOfSquares(x);
        return sums.sumOfSquares(x);
    }

    @Override
    public void accumulate(Tensor accumulator, Tensor x) {
        Operands.accumulate(accumulator, x);
        sums.add(accumulator, x);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        Operands.add(x, y);
        sums.add(x, y);
    }
}
