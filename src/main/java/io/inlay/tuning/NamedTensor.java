package io.inlay.tuning;

import io.inlay.tensor.Tensor;

/** A tensor of a run's state, contiguous, by the name under which a checkpoint has it. */
public record NamedTensor(String name, Tensor tensor) {

    public NamedTensor {
        if (!tensor.contiguous()) {
            throw new IllegalArgumentException("state '" + name + "' is " + tensor + "; only contiguous tensors can be kept");
        }
    }
}
