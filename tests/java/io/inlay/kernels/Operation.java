package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.util.List;

/** One use of the kernels on operands of its own making; returns what it wrote. Run twice, it makes equal operands. */
@FunctionalInterface
interface Operation {
    List<Tensor> run(Kernels kernels, Samples samples);
}
