package io.inlay.tuning;

import io.inlay.kernels.Kernels;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;

/**
 * AdamW over whatever a run trains. Every value has an fp32 master, which starts as the base's, and two fp32 moments; the weight that the
 * model reads is the master rounded to the model's type. At a learning rate of 1e-5 an update vanishes in bf16, hence the masters.
 */
public final class AdamWOptimizer implements AutoCloseable {

    /** Something that moves: a gradient and the weight it is for, contiguous, of equally many elements. */
    public record Slot(Tensor gradient, Tensor weight, boolean decays) {
    }

    private record State(Slot slot, Tensor master, Tensor first, Tensor second) {
    }

    private final Kernels kernels;
    private final AdamWSettings settings;
    private final Scope scope;
    private final List<State> states;
    private long steps;

    public AdamWOptimizer(Libtorch torch, Kernels kernels, AdamWSettings settings, List<Slot> slots) {
        this.kernels = kernels;
        this.settings = settings;
        this.scope = new Scope(torch, "masters and moments");
        try {
            this.states = slots.stream().map(this::start).toList();
        } catch (RuntimeException noMemory) {
            scope.close();
            throw noMemory;
        }
    }

    private State start(Slot slot) {
        Tensor weight = slot.weight();
        return new State(slot, scope.copyTo(weight, DType.FP32, weight.device()),
                scope.zeros(DType.FP32, weight.device(), weight.sizes()), scope.zeros(DType.FP32, weight.device(), weight.sizes()));
    }

    /** The compact buffer of Sparse Matrix Tuning. */
    public static List<Slot> slots(TrainableBlocks blocks) {
        return List.of(new Slot(blocks.gradients(), blocks.values(), true));
    }

    /** Every parameter of a model; norms do not decay. */
    public static List<Slot> slots(TrainableModel model) {
        return slots(model.parameters());
    }

    /** Every A, B and magnitude; magnitudes do not decay. */
    public static List<Slot> slots(LowRankAdapters adapters) {
        return slots(adapters.parameters());
    }

    private static List<Slot> slots(SortedMap<String, TrainableModel.Parameter> parameters) {
        return parameters.values().stream()
                .map(parameter -> new Slot(parameter.gradient(), parameter.weight(), parameter.weight().rank() > 1)).toList();
    }

    /** The norm of all gradients as one vector; NaN or infinite when a gradient is. */
    public double gradientNorm() {
        double sum = 0;
        for (State state : states) {
            sum += kernels.sumOfSquares(state.slot().gradient());
        }
        return Math.sqrt(sum);
    }

    /** One step with gradients multiplied by {@code gradientScale}. */
    public void step(double learningRate, double gradientScale) {
        steps++;
        for (State state : states) {
            double decay = state.slot().decays() ? settings.weightDecay() : 0;
            kernels.adamW(state.slot().gradient(), state.master(), state.first(), state.second(), state.slot().weight(), new Kernels.AdamW(
                    learningRate, settings.beta1(), settings.beta2(), settings.epsilon(), decay, steps, gradientScale));
        }
    }

    /**
     * What the next step depends on, by the slots' order, beside the number of steps that were made: filled with what another optimizer of
     * the same slots had, and told of its steps by {@link #resume}, this one goes on as the other would have.
     */
    public List<NamedTensor> state() {
        List<NamedTensor> state = new ArrayList<>();
        for (int s = 0; s < states.size(); s++) {
            State each = states.get(s);
            state.add(new NamedTensor("weight." + s, each.slot().weight()));
            state.add(new NamedTensor("master." + s, each.master()));
            state.add(new NamedTensor("first." + s, each.first()));
            state.add(new NamedTensor("second." + s, each.second()));
        }
        return state;
    }

    /** Goes on after so many steps. */
    public void resume(long stepsMade) {
        steps = stepsMade;
    }

    /** Bytes of masters and moments. */
    public long bytes() {
        return states.stream().mapToLong(state -> state.master().bytes() + state.first().bytes() + state.second().bytes()).sum();
    }

    @Override
    public void close() {
        scope.close();
    }
}
