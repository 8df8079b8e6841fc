package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.SortedMap;
import java.util.TreeMap;

/** Full fine-tuning: an own copy of every parameter, with a gradient beside it. The base stays as it is. */
public final class TrainableModel implements Trainable, AutoCloseable {

    /**
     * One parameter.
     *
     * @param weight of the model's type
     * @param gradient fp32, of the same sizes, added to by every backward pass
     */
    public record Parameter(Tensor weight, Tensor gradient) {
    }

    private final LlamaModel model;
    private final Scope scope;
    private final SortedMap<String, Parameter> parameters = new TreeMap<>();
    private final LlamaWeights weights;

    public TrainableModel(LlamaModel model) {
        this.model = model;
        this.scope = new Scope(model.torch(), "trained weights");
        try {
            for (ParameterShape shape : model.config().parameters()) {
                Tensor weight = scope.copyTo(model.tensor(shape.name()), model.dtype(), model.device());
                parameters.put(shape.name(), new Parameter(weight, scope.zeros(DType.FP32, model.device(), weight.sizes())));
            }
        } catch (RuntimeException noMemory) {
            scope.close();
            throw noMemory;
        }
        this.weights = LlamaWeights.of(model.config(), name -> parameters.get(name).weight());
    }

    /** By checkpoint name; a tied head is the embedding. */
    public SortedMap<String, Parameter> parameters() {
        return Collections.unmodifiableSortedMap(parameters);
    }

    public long count() {
        return parameters.values().stream().mapToLong(parameter -> parameter.weight().elements()).sum();
    }

    /** Copies of all weights as a delta has them, in the arena's memory. */
    public DeltaTensors export(Arena arena) {
        return DeltaTensors.of(model.config(), model.config().parameters(),
                (parameter, one) -> DenseTensor.copy(model, parameters.get(parameter.name()).weight(), one), arena);
    }

    LlamaWeights weights() {
        return weights;
    }

    Tensor gradient(String tensor) {
        return parameters.get(tensor).gradient();
    }

    @Override
    public boolean trains(String tensor) {
        return true;
    }

    @Override
    public void close() {
        scope.close();
    }
}
