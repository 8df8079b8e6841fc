package io.inlay.tuning;

import static io.inlay.tuning.SumTask.task;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOnDevice;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.LowRank;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Whole runs on a device, whose memory none but kernels read or write, leave the bits that they leave on the CPU. */
class TuningOnDeviceTest {

    private static final Path BASE = Path.of("tests/golden/tuning/model");

    static Stream<Arguments> runs() {
        Stream.Builder<Arguments> runs = Stream.builder();
        for (WarmUpMemory memory : List.of(WarmUpMemory.DEVICE, WarmUpMemory.HOST)) {
            runs.add(Arguments.of("smt with sums on the " + memory, DType.BF16, new Smt(0.05, OptionalInt.of(16), TuningMethod.ATTENTION, 2,
                    Score.MEAN_ABS_SUM, new Strategy.Global(), memory)));
        }
        runs.add(Arguments.of("smt", DType.FP32, new Smt(0.05, OptionalInt.of(16), TuningMethod.ATTENTION, 2, Score.ABS_MEAN_SUM,
                new Strategy.Global())));
        for (LowRank.Kind kind : LowRank.Kind.values()) {
            runs.add(Arguments.of("adapters", DType.BF16, new LowRank(kind, 4, 8, 0.1, LowRank.DEFAULT_TARGETS)));
            runs.add(Arguments.of("adapters", DType.FP32, new LowRank(kind, 4, 8, 0, LowRank.DEFAULT_TARGETS)));
        }
        runs.add(Arguments.of("full", DType.BF16, new FullFineTuning()));
        return runs.build();
    }

    @ParameterizedTest(name = "{0} {1} {2}")
    @MethodSource("runs")
    void a_run_leaves_the_same_bits(String name, DType type, TuningMethod method) {
        LlamaTraining.Activations activations = type == DType.FP32 ? LlamaTraining.Activations.RECOMPUTE : LlamaTraining.Activations.KEEP;
        TuningParameters parameters = TuningParameters.of(method).maxSteps(3).batchSize(4).microBatchTokens(24).seed(3)
                .activations(activations).evaluateEvery(1).keepBest(true).build();
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), BASE, ModelOptions.of(type));
                LlamaModel device = ModelOnDevice.open(BASE, type); Arena arena = Arena.ofConfined()) {
            TuningOutcome expected = run(cpu, parameters, arena);
            TuningOutcome outcome = run(device, parameters, arena);
            assertThat(outcome.trainingLoss()).isEqualTo(expected.trainingLoss());
            assertThat(outcome.validationLoss()).isEqualTo(expected.validationLoss());
            assertThat(bits(outcome)).usingRecursiveComparison().isEqualTo(bits(expected));
            assertThat(device.digest()).isEqualTo(device.fingerprint());
            assertThat(device.torch().devices().held(HostAsCuda.DEVICE).keySet()).as("what a run has left")
                    .containsExactly("weights of model");
        }
    }

    /** One byte is missing for sums on the device beside the smallest passes that are allowed. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void warm_up_sums_that_do_not_fit_beside_the_passes_go_to_the_host_and_select_the_same_blocks_in_less_memory(boolean mayRecompute) {
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), BASE, ModelOptions.of(DType.BF16));
                Arena arena = Arena.ofConfined()) {
            TuningOutcome expected = new TuningRun(cpu).run(predicted(), predicted(), summing(WarmUpMemory.AUTO), TuningListener.NONE,
                    () -> false, arena);
            BlockGrid grid = expected.plan().blocks().orElseThrow().grid();
            long sums = grid.matrices().stream().mapToLong(matrix -> 4L * matrix.rows() * matrix.columns()).sum() + 4L * grid.size();
            long free = sums + smallestPasses(cpu, mayRecompute) - 1;
            Cramped cramped = within(free, mayRecompute, WarmUpMemory.AUTO, arena);
            assertThat(cramped.placement().memory()).isEqualTo(WarmUpMemory.HOST);
            assertThat(cramped.held()).as("at most, beside the weights").isLessThanOrEqualTo(free);
            assertThat(cramped.outcome().selection()).isEqualTo(expected.selection());
            assertThat(bits(cramped.outcome())).usingRecursiveComparison().isEqualTo(bits(expected));
            assertThat(within(free, mayRecompute, WarmUpMemory.DEVICE, arena).held()).as("with sums on the device").isGreaterThan(free);
            Cramped enough = within(free + 1, mayRecompute, WarmUpMemory.AUTO, arena);
            assertThat(enough.placement().memory()).isEqualTo(WarmUpMemory.DEVICE);
            assertThat(bits(enough.outcome())).usingRecursiveComparison().isEqualTo(bits(expected));
        }
    }

    private static TuningParameters summing(WarmUpMemory memory) {
        return TuningParameters.of(new Smt(0.01, OptionalInt.of(16), TuningMethod.ATTENTION, 4, Score.MEAN_ABS_SUM, new Strategy.Global(),
                memory)).maxSteps(3).batchSize(4).microBatchTokens(24).seed(3).build();
    }

    /** The task with every token predicted: a plan counts on that. */
    private static List<TuningExample> predicted() {
        return task().stream().map(each -> new TuningExample(each.tokens(), 1)).toList();
    }

    private static long smallestPasses(LlamaModel model, boolean mayRecompute) {
        TuningParameters parameters = summing(WarmUpMemory.AUTO);
        BatchOrder order = new BatchOrder(predicted(), parameters.batchSize(), parameters.seed());
        int tokens = PartSizes.of(order, parameters.microBatchTokens()).largest().tokens().length;
        TuningPlan plan = TuningPlan.of(model.config(), parameters, predicted().size());
        return RunMemory.warmUp(model, plan, tokens, mayRecompute).getLast().bytes();
    }

    /** A run on a device that says it is short of memory; {@code held} bytes there at most, beside the weights. */
    private record Cramped(TuningOutcome outcome, WarmUpPlacement placement, long held) {
    }

    private static Cramped within(long free, boolean mayRecompute, WarmUpMemory memory, Arena arena) {
        try (LlamaModel device = ModelOnDevice.open(BASE, DType.BF16)) {
            long weights = HostAsCuda.mostHeld(device.torch());
            List<WarmUpPlacement> told = new ArrayList<>();
            TuningListener listener = new TuningListener() {
                @Override
                public void warmUpMemory(WarmUpPlacement placement) {
                    told.add(placement);
                }
            };
            TuningOutcome outcome = new TuningRun(device, Pace.FULL_SPEED, where -> where.isCpu() ? OptionalLong.empty()
                    : OptionalLong.of(free), Optional.empty(), mayRecompute).run(predicted(), predicted(), summing(memory), listener,
                    () -> false, arena);
            assertThat(told).hasSize(1);
            return new Cramped(outcome, told.getFirst(), HostAsCuda.mostHeld(device.torch()) - weights);
        }
    }

    private static TuningOutcome run(LlamaModel model, TuningParameters parameters, Arena arena) {
        return new TuningRun(model).run(task(), task(), parameters, TuningListener.NONE, () -> false, arena);
    }

    private static List<Object> bits(TuningOutcome outcome) {
        List<Object> all = new ArrayList<>();
        for (TensorBlocks blocks : outcome.blocks()) {
            all.add(blocks.tensor());
            all.add(blocks.coordinates());
            all.add(blocks.values().toArray(ValueLayout.JAVA_SHORT));
        }
        for (WholeTensor whole : outcome.tensors()) {
            all.add(whole.tensor());
            all.add(whole.values().toArray(ValueLayout.JAVA_SHORT));
        }
        return all;
    }
}
