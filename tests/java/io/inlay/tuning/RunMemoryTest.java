package io.inlay.tuning;

import static io.inlay.tuning.SumTask.same;
import static io.inlay.tuning.SumTask.task;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.LowRank;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A run knows before it allocates whether it fits. */
class RunMemoryTest {

    private static final Smt SMT = new Smt(0.05, OptionalInt.of(16), TuningMethod.ATTENTION, 1, Score.ABS_MEAN_SUM, new Strategy.Global());

    private static LlamaModel model;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    private static TuningParameters parameters() {
        return TuningParameters.of(SMT).maxSteps(2).batchSize(8).microBatchTokens(64).build();
    }

    private static RunMemory needed(Activations how) {
        TuningParameters parameters = parameters();
        BatchOrder order = new BatchOrder(task(), parameters.batchSize(), parameters.seed());
        int tokens = PartSizes.of(order, parameters.microBatchTokens()).largest().tokens().length;
        return RunMemory.of(model.config(), model.dtype(), TuningPlan.of(model.config(), parameters, task().size()), tokens, 0, how);
    }

    private static TuningOutcome run(long free, boolean mayRecompute, List<RunMemory> told, Arena arena) {
        TuningListener listener = new TuningListener() {
            @Override
            public void recomputes(RunMemory memory) {
                told.add(memory);
            }
        };
        return new TuningRun(model, Pace.FULL_SPEED, _ -> OptionalLong.of(free), Optional.empty(), mayRecompute).run(task(), List.of(),
                parameters(), listener, () -> false, arena);
    }

    @Test
    void what_fits_runs_as_asked_and_what_fits_when_layers_are_computed_twice_runs_so_to_the_same_bits() {
        RunMemory keep = needed(Activations.KEEP);
        RunMemory recompute = needed(Activations.RECOMPUTE);
        assertThat(recompute.total()).isLessThan(keep.total());
        try (Arena arena = Arena.ofConfined()) {
            List<RunMemory> told = new ArrayList<>();
            TuningOutcome asked = run(keep.total(), true, told, arena);
            assertThat(told).isEmpty();
            TuningOutcome short1 = run(keep.total() - 1, true, told, arena);
            assertThat(told).containsExactly(recompute);
            assertThat(short1.plan().parameters().activations()).isEqualTo(Activations.RECOMPUTE);
            assertThat(same(asked.blocks(), short1.blocks())).isTrue();
        }
    }

    @Test
    void what_does_not_fit_is_refused_with_the_numbers() {
        RunMemory keep = needed(Activations.KEEP);
        RunMemory recompute = needed(Activations.RECOMPUTE);
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> run(recompute.total() - 1, true, new ArrayList<>(), arena)).isInstanceOf(Problem.class)
                    .hasMessage(String.format(Locale.ROOT, "the job needs %,d bytes on cpu beside the base: %,d for what is trained, %,d "
                            + "for masters and moments, %,d for passes of %,d tokens at a time with layers computed twice; %,d are free; "
                            + "lower micro_batch_tokens or the budget, or free memory", recompute.total(), recompute.trained(),
                            recompute.optimizer(), recompute.activations(), recompute.tokens(), recompute.total() - 1));
            assertThatThrownBy(() -> run(keep.total() - 1, false, new ArrayList<>(), arena)).isInstanceOf(Problem.class)
                    .hasMessageContaining("the job needs " + String.format(Locale.ROOT, "%,d", keep.total()))
                    .hasMessageNotContaining("computed twice");
        }
    }

    @Test
    void the_baselines_are_counted_too() {
        TuningParameters full = TuningParameters.of(new FullFineTuning()).build();
        TuningParameters lora = TuningParameters.of(new LowRank(LowRank.Kind.LORA, 4, 8, 0, LowRank.DEFAULT_TARGETS)).build();
        RunMemory all = RunMemory.of(model.config(), DType.BF16, TuningPlan.of(model.config(), full, 8), 64, 0, Activations.KEEP);
        RunMemory few = RunMemory.of(model.config(), DType.BF16, TuningPlan.of(model.config(), lora, 8), 64, 0, Activations.KEEP);
        assertThat(all.trained()).isEqualTo(6 * model.parameterCount());
        assertThat(all.optimizer()).isEqualTo(12 * model.parameterCount());
        assertThat(few.optimizer()).isEqualTo(12 * TuningPlan.of(model.config(), lora, 8).trainedParameters());
        assertThat(few.activations()).isGreaterThan(needed(Activations.RECOMPUTE).activations());
    }
}
