package io.inlay.tuning;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Kernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Sums up warm-up gradients into a score per block. Gradients arrive through {@link #accept}, several times per step and matrix when the
 * step's batch is split; {@link #endStep} closes a step.
 *
 * <p>What is kept depends on the score. {@code |mean sum g|} is linear until the end, so block means add up as they come. {@code mean |sum
 * g|} needs the whole sum. {@code mean |g|} of each step needs the step's whole gradient, which is there at once unless the batch is split;
 * only then a buffer is kept for it.
 *
 * <p>Sums live on the device, or in the host's memory, outside libtorch: then gradients go there to be added, and a matrix's sum comes back
 * to the device to be scored, so that both ways give the same bits.
 */
public final class BlockScores implements AutoCloseable {

    private final Kernels kernels;
    private final Libtorch torch;
    private final Device device;
    private final BlockGrid grid;
    private final TuningMethod.Score score;
    private final WarmUpMemory memory;
    /** Adds where the sums are. */
    private final Kernels adder;
    private final Arena host = Arena.ofShared();
    private final Scope scope;
    private final Map<String, Integer> numbers = new HashMap<>();
    private final Tensor[] blockSums;
    private final Tensor[] gradientSums;
    private final Set<Integer> pending = new HashSet<>();
    private boolean split;

    /** With sums on the device. */
    public BlockScores(Libtorch torch, Kernels kernels, Device device, BlockGrid grid, TuningMethod.Score score) {
        this(torch, kernels, device, grid, score, WarmUpMemory.DEVICE);
    }

    /**
     * @param memory where sums live: {@code DEVICE}, {@code HOST}, or {@code STREAM} for a run that needs none
     */
    public BlockScores(Libtorch torch, Kernels kernels, Device device, BlockGrid grid, TuningMethod.Score score, WarmUpMemory memory) {
        if (memory == WarmUpMemory.AUTO) {
            throw new IllegalArgumentException("warm-up sums live on the device, on the host or nowhere; WarmUpPlacement chooses");
        }
        this.memory = memory;
        this.adder = memory == WarmUpMemory.HOST && !device.isCpu() ? CpuKernels.best() : kernels;
        this.torch = torch;
        this.kernels = kernels;
        this.device = device;
        this.grid = grid;
        this.score = score;
        this.scope = new Scope(torch, "warm-up sums");
        int count = grid.matrices().size();
        this.blockSums = new Tensor[count];
        this.gradientSums = new Tensor[count];
        for (int m = 0; m < count; m++) {
            BlockGrid.Matrix matrix = grid.matrices().get(m);
            numbers.put(matrix.tensor(), m);
            blockSums[m] = scope.zeros(DType.FP32, device, matrix.rows() / grid.edge(), matrix.columns() / grid.edge());
        }
    }

    /** The matrices whose gradients are wanted. */
    public Set<String> tensors() {
        return Set.copyOf(numbers.keySet());
    }

    /** Opens a step whose gradients come in {@code parts} of a batch. */
    public void beginStep(int parts) {
        split = parts > 1;
    }

    /** Takes a part's gradient of one matrix [rows, columns]; the tensor is read during the call only. */
    public void accept(String tensor, Tensor gradient) {
        Integer m = numbers.get(tensor);
        if (m == null) {
            throw new IllegalArgumentException(tensor + " is not a target; its gradient is not wanted");
        }
        switch (score) {
            case MEAN_ABS_SUM -> accumulate(m, gradient);
            case ABS_MEAN_SUM -> kernels.blockMean(gradient, grid.edge(), blockSums[m]);
            case MEAN_ABS_PER_STEP -> {
                if (split) {
                    accumulate(m, gradient);
                    pending.add(m);
                } else {
                    kernels.blockAbsoluteMean(gradient, grid.edge(), blockSums[m]);
                }
            }
        }
    }

    private void accumulate(int m, Tensor gradient) {
        try (Scope now = new Scope(torch)) {
            Tensor sum = gradientSum(m);
            adder.accumulate(sum, sum.device().equals(gradient.device()) ? gradient : now.copyTo(gradient, gradient.dtype(), sum.device()));
        }
    }

    /** All parts of the step's batch have been seen. */
    public void endStep() {
        for (int m : pending) {
            addBlockMeans(m, blockSums[m]);
            torch.zero(gradientSums[m]);
        }
        pending.clear();
    }

    /** What is kept between two steps; filled with what another of the same grid and score had, this goes on as the other would have. */
    public List<NamedTensor> state() {
        List<NamedTensor> state = new ArrayList<>();
        for (int m = 0; m < blockSums.length; m++) {
            Tensor kept = switch (score) {
                case MEAN_ABS_SUM -> gradientSum(m);
                case ABS_MEAN_SUM, MEAN_ABS_PER_STEP -> blockSums[m];
            };
            state.add(new NamedTensor("sum." + grid.matrices().get(m).tensor(), kept));
        }
        return state;
    }

    /** The scores by number in the grid, of all steps so far. None is negative; one may be NaN or infinite if a gradient was. */
    public float[] scores() {
        float[] all = new float[grid.size()];
        for (int m = 0; m < blockSums.length; m++) {
            float[] values = switch (score) {
                case MEAN_ABS_SUM -> ofSums(m);
                case ABS_MEAN_SUM, MEAN_ABS_PER_STEP -> Scope.floats(torch, blockSums[m]);
            };
            for (int i = 0; i < values.length; i++) {
                all[grid.start(m) + i] = Math.abs(values[i]);
            }
        }
        return all;
    }

    private float[] ofSums(int m) {
        try (Scope now = new Scope(torch)) {
            Tensor means = now.zeros(DType.FP32, device, blockSums[m].sizes());
            addBlockMeans(m, means);
            return Scope.floats(torch, means);
        }
    }

    /** Adds the means of a matrix's sum, computed on the device wherever the sum lives. */
    private void addBlockMeans(int m, Tensor means) {
        try (Scope now = new Scope(torch)) {
            Tensor sum = gradientSum(m);
            kernels.blockAbsoluteMean(sum.device().equals(device) ? sum : now.copyTo(sum, DType.FP32, device), grid.edge(), means);
        }
    }

    private Tensor gradientSum(int m) {
        if (gradientSums[m] == null) {
            BlockGrid.Matrix matrix = grid.matrices().get(m);
            gradientSums[m] = switch (memory) {
                case DEVICE -> scope.zeros(DType.FP32, device, matrix.rows(), matrix.columns());
                case HOST -> scope.wrap(host.allocate(4L * matrix.rows() * matrix.columns(), 64), DType.FP32, matrix.rows(),
                        matrix.columns());
                case AUTO, STREAM -> throw new IllegalStateException("score " + score + " needs a sum of " + matrix.tensor()
                        + ", but it was to stream");
            };
        }
        return gradientSums[m];
    }

    /** Bytes held for sums. */
    public long bytes() {
        long bytes = 0;
        for (int m = 0; m < blockSums.length; m++) {
            bytes += blockSums[m].bytes() + (gradientSums[m] == null ? 0 : gradientSums[m].bytes());
        }
        return bytes;
    }

    @Override
    public void close() {
        scope.close();
        host.close();
    }
}
