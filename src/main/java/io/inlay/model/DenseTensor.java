package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A whole weight as it is written to a checkpoint.
 *
 * @param values bf16 bit patterns, row-major, little endian; the memory's owner decides how long they live
 */
public record DenseTensor(ParameterShape parameter, MemorySegment values) {

    /** Copies of all of a trained model's weights, in checkpoint order, in the arena's memory. */
    public static List<DenseTensor> export(LlamaModel model, TrainableModel trained, Arena arena) {
        return model.config().parameters().stream()
                .map(parameter -> new DenseTensor(parameter, copy(model, trained.parameters().get(parameter.name()).weight(), arena)))
                .toList();
    }

    /** A copy as bf16, in the arena's memory. */
    static MemorySegment copy(LlamaModel model, Tensor weight, Arena arena) {
        try (Scope scope = new Scope(model.torch())) {
            MemorySegment bits = scope.copyTo(weight, DType.BF16, Device.CPU).segment();
            return arena.allocate(bits.byteSize(), 64).copyFrom(bits);
        }
    }
}
