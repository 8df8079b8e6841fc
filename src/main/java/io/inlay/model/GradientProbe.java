package io.inlay.model;

import io.inlay.tensor.Tensor;
import java.util.Set;

/**
 * Warm-up: full gradients of some linears are shown to a sink, one at a time, and nothing is trained or kept.
 */
public record GradientProbe(Set<String> tensors, GradientSink sink) implements Trainable {

    public GradientProbe {
        tensors = Set.copyOf(tensors);
        if (tensors.isEmpty()) {
            throw new IllegalArgumentException("a probe of no tensors sees nothing; name the linears to score");
        }
    }

    /** Takes a linear's gradient [O, K] of the model's type; the tensor is valid during the call only. */
    @FunctionalInterface
    public interface GradientSink {
        void accept(String tensor, Tensor gradient);
    }

    @Override
    public boolean trains(String tensor) {
        return tensors.contains(tensor);
    }
}
