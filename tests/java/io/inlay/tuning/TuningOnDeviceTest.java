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
import java.util.OptionalInt;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

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
