package io.inlay.tuning;

import static io.inlay.tuning.SumTask.same;
import static io.inlay.tuning.SumTask.servedLoss;
import static io.inlay.tuning.SumTask.task;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.inlay.Problem;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Kernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tuning.TuningMethod.LowRank;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Whole LoRA and DoRA runs on the golden tuning checkpoint, in bf16 unless a test needs fp32. */
class AdapterRunTest {

    private static final Path BASE = Path.of("tests/golden/tuning/model");
    private static final BooleanSupplier NEVER = () -> false;

    private static Libtorch torch;
    private static Kernels kernels;
    private static LlamaModel model;

    @BeforeAll
    static void open() {
        torch = Libtorch.load();
        kernels = CpuKernels.best();
        model = LlamaModel.open(torch, kernels, BASE, ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    // ---- what comes out ----

    @ParameterizedTest
    @EnumSource
    void a_run_learns_and_leaves_whole_linears_that_answer_as_it_reported(LowRank.Kind kind) {
        try (LlamaModel fp32 = LlamaModel.open(torch, kernels, BASE, ModelOptions.of(DType.FP32)); Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(fp32).run(task(), task(), parameters(kind).maxSteps(40).build(), TuningListener.NONE,
                    NEVER, arena);
            double reported = outcome.validationLoss().orElseThrow();
            assertThat(outcome.selection()).isEmpty();
            assertThat(outcome.tensors()).isEmpty();
            assertThat(outcome.blocks()).hasSize(3 * 5).allSatisfy(blocks -> {
                assertThat(blocks.edge()).isEqualTo(32);
                assertThat(blocks.count()).isEqualTo((long) blocks.rows() * blocks.columns());
            });
            try (WeightOverlay none = WeightOverlay.none(); WeightOverlay tuned = WeightOverlay.of(fp32, outcome.blocks())) {
                assertThat(servedLoss(fp32, none)).isGreaterThan(reported + 0.5);
                assertThat(servedLoss(fp32, tuned)).isCloseTo(reported, within(1e-2));
            }
            assertThat(fp32.digest()).isEqualTo(fp32.fingerprint());
        }
    }

    @ParameterizedTest
    @EnumSource
    void the_same_seed_gives_the_same_bits_and_another_does_not(LowRank.Kind kind) {
        try (Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = parameters(kind).maxSteps(4).microBatchTokens(20).build();
            List<TensorBlocks> first = run(parameters, arena);
            assertThat(same(first, run(parameters, arena))).isTrue();
            assertThat(same(first, run(parameters.toBuilder().seed(7).build(), arena))).isFalse();
            LowRank undropped = new LowRank(kind, 8, 16, 0, LowRank.DEFAULT_TARGETS);
            assertThat(same(first, run(parameters.toBuilder().method(undropped).build(), arena))).isFalse();
        }
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    @Test
    void other_targets_are_honoured_and_what_has_no_adapter_is_no_part_of_the_result() {
        LowRank method = new LowRank(LowRank.Kind.LORA, 2, 4, 0.1, EnumSet.of(Projection.O, Projection.GATE));
        try (Arena arena = Arena.ofConfined()) {
            assertThat(run(parameters(LowRank.Kind.LORA).method(method).maxSteps(1).build(), arena)).hasSize(6)
                    .allSatisfy(blocks -> assertThat(blocks.tensor()).containsPattern("(o|gate)_proj"));
        }
    }

    // ---- adapters before and between steps ----

    @ParameterizedTest
    @EnumSource
    void before_the_first_step_the_model_is_the_base_to_the_last_bit(LowRank.Kind kind) {
        try (LowRankAdapters plain = adapters(kind, 0, 1, 2); LlamaTraining adapted = new LlamaTraining(model, plain);
                LowRankAdapters elsewhere = new LowRankAdapters(model, new LowRankAdapters.Settings(1, 1, 0, false, 1),
                        List.of(Projection.O.tensor(0)));
                LlamaTraining base = new LlamaTraining(model, elsewhere)) {
            assertThat(adapted.evaluate(Packing.pack(task())).sum()).isEqualTo(base.evaluate(Packing.pack(task())).sum());
        }
    }

    @Test
    void a_is_drawn_within_the_bound_of_its_inputs_and_b_is_zero() {
        try (LowRankAdapters adapters = adapters(LowRank.Kind.DORA, 0, 1, 32)) {
            adapters.parameters().forEach((name, parameter) -> {
                float[] values = Scope.floats(torch, parameter.weight());
                double most = IntStream.range(0, values.length).mapToDouble(i -> Math.abs(values[i])).max().orElseThrow();
                if (name.endsWith("lora_A.weight")) {
                    double bound = 1 / Math.sqrt(parameter.weight().size(1));
                    assertThat(most).as(name).isBetween(0.98 * bound, 1.01 * bound);
                    assertThat(IntStream.range(0, values.length).mapToDouble(i -> values[i]).average().orElseThrow()).as(name)
                            .isCloseTo(0, within(4 * bound / Math.sqrt(3.0 * values.length)));
                } else if (name.endsWith("lora_B.weight")) {
                    assertThat(most).as(name).isZero();
                } else {
                    assertThat(name).endsWith("lora_magnitude_vector");
                    assertThat(parameter.weight().dtype()).isEqualTo(DType.FP32);
                    assertThat(most).as(name).isPositive();
                }
            });
            assertThat(adapters.parameters()).hasSize(3 * 5 * 3);
        }
    }

    @ParameterizedTest
    @EnumSource
    void dropout_changes_training_from_step_to_step_and_part_to_part_but_never_an_evaluation(LowRank.Kind kind) {
        try (LowRankAdapters dropped = moved(adapters(kind, 0.5, 1, 4)); LlamaTraining noisy = new LlamaTraining(model, dropped);
                LowRankAdapters plain = moved(adapters(kind, 0, 1, 4)); LlamaTraining still = new LlamaTraining(model, plain)) {
            var batch = Packing.pack(task());
            double exact = still.evaluate(batch).sum();
            assertThat(noisy.evaluate(batch).sum()).isEqualTo(exact);
            noisy.beginStep(3);
            double first = noisy.forwardBackward(batch, 1).sum();
            double second = noisy.forwardBackward(batch, 1).sum();
            assertThat(noisy.evaluate(batch).sum()).isEqualTo(exact);
            noisy.beginStep(4);
            double next = noisy.forwardBackward(batch, 1).sum();
            noisy.beginStep(3);
            assertThat(noisy.forwardBackward(batch, 1).sum()).isEqualTo(first);
            assertThat(List.of(exact, first, second, next)).doesNotHaveDuplicates();
            assertThat(still.forwardBackward(batch, 1).sum()).isEqualTo(exact);
        }
    }

    /** B as training would leave it: no longer zero. */
    private static LowRankAdapters moved(LowRankAdapters adapters) {
        adapters.parameters().forEach((name, parameter) -> {
            if (name.endsWith("lora_B.weight")) {
                for (long i = 0; i < parameter.weight().elements(); i++) {
                    parameter.weight().segment().setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (0x3D00 + (i % 7) * 0x20 + (i % 2 << 15)));
                }
            }
        });
        return adapters;
    }

    @Test
    void a_tensor_that_is_no_linear_is_refused_by_name() {
        assertThatThrownBy(() -> new LowRankAdapters(model, new LowRankAdapters.Settings(1, 1, 0, false, 1),
                List.of("model.norm.weight"))).isInstanceOf(Problem.class).hasMessage("model.norm.weight is no linear of model model; an "
                        + "adapter stands beside q, k, v, o, gate, up or down of a layer");
    }

    @ParameterizedTest
    @EnumSource
    void settings_outside_their_bounds_are_refused_by_name(LowRank.Kind kind) {
        Map<String, Runnable> wrong = Map.of(
                "rank is 0; it must be 1 to 65536", () -> new LowRank(kind, 0, 64, 0.05, LowRank.DEFAULT_TARGETS),
                "alpha is 0.0; it must be over 0.0 and at most 1000000.0", () -> new LowRank(kind, 8, 0, 0.05, LowRank.DEFAULT_TARGETS),
                "dropout is 1.0; it must be 0.0 to 0.95", () -> new LowRank(kind, 8, 64, 1, LowRank.DEFAULT_TARGETS),
                "targets is empty; name at least one of q, k, v, o, gate, up, down", () -> new LowRank(kind, 8, 64, 0.05,
                        EnumSet.noneOf(Projection.class)));
        wrong.forEach((message, attempt) -> assertThatThrownBy(attempt::run).isInstanceOf(Problem.class).hasMessage(message));
    }

    // ---- how it runs ----

    @Test
    void memory_stays_flat_over_many_steps_with_dropout() throws IOException, InterruptedException {
        long growth = NativeGrowth.of(LongRun.class);
        // One fp32 gradient of A lost by each of the 15 adapters a step would be 23 MB; the JIT compiler takes some MB now and then.
        assertThat(growth).as("bytes of growth from step 300 to step 900").isLessThan(16L << 20);
    }

    /** A program of its own, with the Java heap touched beforehand, so that what grows is native memory alone. */
    static final class LongRun implements TuningListener {

        private long early;

        static void main() {
            open();
            try (Arena arena = Arena.ofConfined()) {
                new TuningRun(model).run(task().subList(0, 4), List.of(), parameters(LowRank.Kind.DORA).batchSize(4).maxSteps(900).build(),
                        new LongRun(), NEVER, arena);
            }
        }

        @Override
        public void step(StepReport report) {
            if (report.step() == 300) {
                early = NativeGrowth.anonymousBytes();
            } else if (report.step() == 900) {
                System.out.println("growth " + (NativeGrowth.anonymousBytes() - early));
            }
        }

    }

    // ---- the task: after "a b =" comes the sum, in a model's vocabulary of letters ----

    private static TuningParameters.Builder parameters(LowRank.Kind kind) {
        return TuningParameters.of(new LowRank(kind, 8, 16, 0.05, LowRank.DEFAULT_TARGETS)).batchSize(8)
                .learningRate(LearningRate.linear(2e-2)).microBatchTokens(256);
    }

    private static LowRankAdapters adapters(LowRank.Kind kind, double dropout, long seed, int rank) {
        List<String> targets = IntStream.range(0, 3).boxed().flatMap(layer -> LowRank.DEFAULT_TARGETS.stream()
                .map(target -> target.tensor(layer))).toList();
        return new LowRankAdapters(model, new LowRankAdapters.Settings(rank, 2 * rank, dropout, kind == LowRank.Kind.DORA, seed), targets);
    }

    private static List<TensorBlocks> run(TuningParameters parameters, Arena arena) {
        return new TuningRun(model).run(task(), List.of(), parameters, TuningListener.NONE, NEVER, arena).blocks();
    }
}
