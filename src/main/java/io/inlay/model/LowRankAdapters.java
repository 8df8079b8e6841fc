package io.inlay.model;

import io.inlay.Problem;
import io.inlay.kernels.WeightDecomposition;
import io.inlay.model.TrainableModel.Parameter;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.SplittableRandom;
import java.util.TreeMap;

/**
 * LoRA (Hu et al. 2022) and DoRA (Liu et al. 2024) as PEFT has them: beside a frozen linear W stand A and B, and DoRA has a magnitude m per
 * output. With c = alpha / rank and D for dropout, which evaluation leaves out:
 * <pre>
 * LoRA   y = x W^T + c D(x) A^T B^T
 * DoRA   y = (x - D(x)) W^T + (m / n) (D(x) W^T + c D(x) A^T B^T),   n = |W + c B A| by rows, a constant to the gradient
 * </pre>
 * A starts from PEFT's Kaiming-uniform draw, B from zero, m from |W|: the first forward pass is the base's. A and B are held in the model's
 * type; m and n stay fp32, since m / n must be exactly 1 at the start.
 *
 * <p>Legend: r rank, O outputs, K inputs of a linear.
 */
public final class LowRankAdapters implements Trainable, AutoCloseable {

    private final LlamaModel model;
    private final Settings settings;
    private final Scope scope;
    private final Map<String, Part> parts = new HashMap<>();
    private final SortedMap<String, Parameter> parameters = new TreeMap<>();

    /**
     * What the adapters are.
     *
     * @param alpha the product B A counts alpha / rank times
     * @param dropout share of an adapter's inputs that is dropped in training, 0 to below 1
     * @param decomposed whether there are magnitudes: DoRA
     * @param seed of A's first values and of dropout
     */
    public record Settings(int rank, double alpha, double dropout, boolean decomposed, long seed) {

        public Settings {
            if (rank < 1 || !(alpha > 0) || !(dropout >= 0 && dropout < 1)) {
                throw new IllegalArgumentException("an adapter of rank " + rank + ", alpha " + alpha + " and dropout " + dropout);
            }
        }

        double scaling() {
            return alpha / rank;
        }
    }

    /**
     * The adapter of one linear.
     *
     * @param a [r, K]
     * @param b [O, r]
     * @param place number of the linear in the model, for dropout
     * @param magnitude null for LoRA
     */
    record Part(Tensor weight, Parameter a, Parameter b, int place, Magnitude magnitude) {
    }

    /**
     * DoRA's own part of a linear; all tensors fp32 [O].
     *
     * @param baseSquares |W|^2 by rows
     * @param norms n of the last forward pass
     * @param scale m / n of the last forward pass
     */
    record Magnitude(Parameter parameter, double[] baseSquares, Tensor norms, Tensor scale) {
    }

    /**
     * Adapters of the named linears, as they are before the first step.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} when a tensor is no linear of the model
     */
    public LowRankAdapters(LlamaModel model, Settings settings, Collection<String> tensors) {
        this.model = model;
        this.settings = settings;
        Map<String, Integer> places = new HashMap<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            for (Projection projection : Projection.values()) {
                places.put(projection.tensor(layer), places.size());
            }
        }
        for (String tensor : tensors) {
            if (!places.containsKey(tensor)) {
                throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, tensor + " is no linear of model " + model.name()
                        + "; an adapter stands beside q, k, v, o, gate, up or down of a layer");
            }
        }
        this.scope = new Scope(model.torch(), "adapters");
        tensors.forEach(tensor -> parts.put(tensor, start(tensor, places.get(tensor))));
    }

    private Part start(String tensor, int place) {
        Tensor weight = model.tensor(tensor);
        Parameter a = parameter(tensor, "lora_A.weight", model.dtype(), settings.rank(), weight.size(1));
        Parameter b = parameter(tensor, "lora_B.weight", model.dtype(), weight.size(0), settings.rank());
        try (Scope draw = new Scope(model.torch())) {
            model.torch().copy(a.weight(), draw.of(model.device(), uniform(weight.size(1), place), a.weight().sizes()));
        }
        model.torch().zero(b.weight());
        return new Part(weight, a, b, place, settings.decomposed() ? magnitude(tensor, weight) : null);
    }

    /** PyTorch's Kaiming uniform with a = sqrt(5), as PEFT draws A: uniform within 1 / sqrt(inputs). */
    private float[] uniform(long inputs, int place) {
        double bound = 1 / Math.sqrt(inputs);
        SplittableRandom random = new SplittableRandom(new SplittableRandom(settings.seed()).nextLong() + place);
        float[] values = new float[Math.toIntExact(settings.rank() * inputs)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextDouble(-bound, bound);
        }
        return values;
    }

    private Magnitude magnitude(String tensor, Tensor weight) {
        double[] squares = WeightDecomposition.rowDots(weight, weight);
        float[] norms = new float[squares.length];
        for (int o = 0; o < norms.length; o++) {
            norms[o] = (float) Math.sqrt(squares[o]);
        }
        Parameter parameter = parameter(tensor, "lora_magnitude_vector", DType.FP32, norms.length);
        Tensor start = scope.of(model.device(), norms, norms.length);
        model.torch().copy(parameter.weight(), start);
        return new Magnitude(parameter, squares, start, scope.empty(DType.FP32, model.device(), norms.length));
    }

    private Parameter parameter(String tensor, String role, DType dtype, long... sizes) {
        Parameter parameter = new Parameter(scope.empty(dtype, model.device(), sizes), scope.zeros(DType.FP32, model.device(), sizes));
        parameters.put(tensor.substring(0, tensor.length() - "weight".length()) + role, parameter);
        return parameter;
    }

    /** Everything that is trained, by PEFT's names without its prefix: {@code model.layers.0.self_attn.q_proj.lora_A.weight}. */
    public SortedMap<String, Parameter> parameters() {
        return Collections.unmodifiableSortedMap(parameters);
    }

    /** Trained values. */
    public long count() {
        return parameters.values().stream().mapToLong(parameter -> parameter.weight().elements()).sum();
    }

    Settings settings() {
        return settings;
    }

    /** The adapter of a linear, or null when it has none. */
    Part part(String tensor) {
        return parts.get(tensor);
    }

    @Override
    public boolean trains(String tensor) {
        return parts.containsKey(tensor);
    }

    /** The linear with its adapter in it, fp32 [O, K] of the target scope: W + c B A, by DoRA's rule with rows of length m. */
    public Tensor merged(String tensor, Scope target) {
        Part part = parts.get(tensor);
        if (part == null) {
            throw new IllegalArgumentException(tensor + " has no adapter");
        }
        Tensor merged = target.copyTo(part.weight(), DType.FP32, model.device());
        try (Scope copies = new Scope(model.torch())) {
            model.torch().addmm(merged, copies.copyTo(part.b().weight(), DType.FP32, model.device()),
                    copies.copyTo(part.a().weight(), DType.FP32, model.device()), 1, settings.scaling());
        }
        if (part.magnitude() != null) {
            double[] scale = WeightDecomposition.rowDots(merged, merged);
            float[] lengths = Scope.floats(model.torch(), part.magnitude().parameter().weight());
            for (int o = 0; o < scale.length; o++) {
                scale[o] = lengths[o] / norm(scale[o]);
            }
            WeightDecomposition.scaleRows(merged, scale);
        }
        return merged;
    }

    /** A row of zeros has no direction; its length is then taken as the smallest there is, so that nothing becomes infinite. */
    static double norm(double squares) {
        return Math.max(Math.sqrt(Math.max(0, squares)), Float.MIN_NORMAL);
    }

    /** All linears that have an adapter, {@link #merged} and rounded once to bf16: what is served. */
    public DeltaTensors export(Arena arena) {
        List<ParameterShape> merged = model.config().parameters().stream().filter(shape -> trains(shape.name())).toList();
        return DeltaTensors.of(model.config(), merged, (parameter, one) -> {
            try (Scope now = new Scope(model.torch())) {
                return DenseTensor.copy(model, merged(parameter.name(), now), one);
            }
        }, arena);
    }

    @Override
    public void close() {
        scope.close();
    }
}
