package io.inlay.tuning;

import static io.inlay.tuning.SumTask.same;
import static io.inlay.tuning.SumTask.servedLoss;
import static io.inlay.tuning.SumTask.task;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.CheckpointWriter;
import io.inlay.model.DenseTensor;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.model.MergedCheckpoint;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.FreeMemory;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Whole runs on the golden tuning checkpoint (see tests/golden/tuning), in bf16 unless a test needs fp32. */
class TuningRunTest {

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

    @Test
    void smt_learns_a_small_task_and_leaves_the_base_as_it_was() {
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(model).run(task(), task(), smt().evaluateEvery(20).maxSteps(40).build(), recorder, NEVER,
                    arena);
            // The head is frozen and small: with normed states of length 8 and embeddings of length 0.16 no loss below 4.3 is in reach.
            double before = recorder.validated.getFirst().loss();
            assertThat(recorder.validated.stream().map(TuningListener.ValidationReport::step)).containsExactly(0, 20, 40);
            assertThat(outcome.validationLoss().orElseThrow()).isEqualTo(recorder.validated.getLast().loss()).isLessThan(before - 0.8);
            assertThat(outcome.steps()).isEqualTo(40);
            assertThat(outcome.tokens()).isEqualTo(recorder.steps.stream().mapToLong(StepReport::tokens).sum());
            assertThat(outcome.trainingLoss()).isEqualTo(recorder.steps.getLast().loss());
            assertThat(outcome.tensors()).isEmpty();
            assertThat(outcome.blocks().stream().mapToLong(TensorBlocks::count).sum())
                    .isEqualTo(outcome.plan().trainedParameters()).isEqualTo(outcome.selection().orElseThrow().trainedParameters());
        }
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    @Test
    void the_same_seed_gives_the_same_bits_and_another_does_not() {
        try (Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = smt().maxSteps(6).microBatchTokens(40).build();
            List<TensorBlocks> first = run(parameters, arena).blocks();
            List<TensorBlocks> second = run(parameters, arena).blocks();
            List<TensorBlocks> other = run(parameters.toBuilder().seed(7).build(), arena).blocks();
            assertThat(same(first, second)).isTrue();
            assertThat(same(first, other)).isFalse();
        }
    }

    @Test
    void serving_the_blocks_gives_the_validation_loss_that_the_run_reported() {
        try (LlamaModel fp32 = LlamaModel.open(torch, kernels, BASE, ModelOptions.of(DType.FP32)); Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(fp32).run(task(), task(), smt().maxSteps(10).build(), TuningListener.NONE, NEVER, arena);
            double reported = outcome.validationLoss().orElseThrow();
            try (WeightOverlay none = WeightOverlay.none(); WeightOverlay tuned = WeightOverlay.of(fp32, outcome.blocks())) {
                // The blocks are bf16, the run was fp32: rounding moves the loss a little.
                assertThat(servedLoss(fp32, tuned)).isCloseTo(reported, within(5e-3));
                assertThat(servedLoss(fp32, none)).isGreaterThan(reported + 0.1);
            }
        }
    }

    @Test
    void random_blocks_train_as_many_without_a_warm_up() {
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = smt().method(new RandomBlocks(0.1, OptionalInt.of(16), TuningMethod.ATTENTION)).maxSteps(10)
                    .build();
            TuningOutcome outcome = new TuningRun(model).run(task(), List.of(), parameters, recorder, NEVER, arena);
            assertThat(recorder.warmUps).isEmpty();
            assertThat(outcome.selection().orElseThrow().blocks()).isEqualTo(outcome.plan().blocks().orElseThrow().count());
            assertThat(outcome.selection().orElseThrow().scores()).isEmpty();
            assertThat(outcome.validationLoss()).isEmpty();
            assertThat(outcome.trainingLoss()).isLessThan(recorder.steps.getFirst().loss());
        }
    }

    @Test
    void a_number_of_blocks_per_matrix_and_other_targets_are_honoured() {
        Smt each = new Smt(0.1, OptionalInt.of(32), EnumSet.of(Projection.DOWN, Projection.O), 2, Score.MEAN_ABS_PER_STEP,
                new Strategy.PerMatrix(2));
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = run(smt().method(each).maxSteps(2).build(), arena);
            assertThat(outcome.blocks()).hasSize(6).allSatisfy(blocks -> {
                assertThat(blocks.coordinates()).hasSize(2);
                assertThat(blocks.tensor()).containsPattern("(o|down)_proj");
            });
        }
    }

    @ParameterizedTest
    @EnumSource(Projection.class)
    void any_single_projection_can_be_the_target(Projection only) {
        Smt alone = new Smt(0.02, OptionalInt.of(16), EnumSet.of(only), 2, Score.MEAN_ABS_SUM, new Strategy.Global());
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = run(smt().method(alone).maxSteps(2).build(), arena);
            assertThat(outcome.blocks()).isNotEmpty().allSatisfy(blocks -> assertThat(blocks.tensor())
                    .isIn(only.tensor(0), only.tensor(1), only.tensor(2)));
            assertThat(outcome.selection().orElseThrow().of(only)).isEqualTo(outcome.plan().blocks().orElseThrow().count());
        }
    }

    @Test
    void pools_train_the_best_blocks_of_attention_and_of_the_mlp() {
        Smt pools = new Smt(0.1, OptionalInt.of(16), EnumSet.allOf(Projection.class), 2, Score.MEAN_ABS_SUM, new Strategy.Pools(0.25));
        try (Arena arena = Arena.ofConfined()) {
            SelectionReport report = run(smt().method(pools).maxSteps(2).build(), arena).selection().orElseThrow();
            int attention = report.matrices().stream().filter(matrix -> Strategy.Pools.ofAttention(matrix.projection()))
                    .mapToInt(SelectionReport.MatrixCount::blocks).sum();
            assertThat(attention).isEqualTo(new Strategy.Pools(0.25).attentionBlocks(report.blocks())).isPositive();
            assertThat(report.blocks() - attention).isPositive();
        }
    }

    @Test
    void warm_up_sums_on_the_host_and_on_the_device_select_the_same_blocks_and_train_the_same_bits() {
        try (Arena arena = Arena.ofConfined()) {
            for (Score score : List.of(Score.MEAN_ABS_SUM, Score.MEAN_ABS_PER_STEP)) {
                TuningParameters device = smt().method(warmUp(score, WarmUpMemory.DEVICE)).maxSteps(3).microBatchTokens(20).build();
                TuningParameters host = device.toBuilder().method(warmUp(score, WarmUpMemory.HOST)).build();
                TuningOutcome onDevice = run(device, arena);
                TuningOutcome onHost = run(host, arena);
                assertThat(onHost.selection()).isEqualTo(onDevice.selection());
                assertThat(same(onHost.blocks(), onDevice.blocks())).isTrue();
            }
        }
    }

    @Test
    void where_the_sums_live_and_how_passes_are_made_is_chosen_from_free_memory_and_told() {
        long needed = 4L * 3 * (64 * 64 + 2 * 32 * 64) + 4 * 96;
        WarmUpPlacement.Passes once = passes(true).getFirst();
        WarmUpPlacement.Passes twice = passes(true).getLast();
        assertThat(List.of(once.how(), twice.how())).containsExactly(Activations.KEEP, Activations.RECOMPUTE);
        placed(smt(), needed + once.bytes(), WarmUpMemory.DEVICE, needed, Activations.KEEP);
        placed(smt(), needed + once.bytes() - 1, WarmUpMemory.DEVICE, needed, Activations.RECOMPUTE);
        placed(smt().method(warmUp(Score.ABS_MEAN_SUM, WarmUpMemory.AUTO)), 0, WarmUpMemory.STREAM, 4 * 96, Activations.KEEP);
        placed(smt().method(warmUp(Score.MEAN_ABS_PER_STEP, WarmUpMemory.STREAM)), 0, WarmUpMemory.STREAM, 4 * 96, Activations.KEEP);
        placed(smt().method(warmUp(Score.MEAN_ABS_SUM, WarmUpMemory.HOST)), 0, WarmUpMemory.HOST, needed, Activations.RECOMPUTE);
        refused(needed + twice.bytes() - 1, true, twice, " with layers computed twice");
        refused(needed + once.bytes() - 1, false, once, "");
    }

    private static List<WarmUpPlacement.Passes> passes(boolean mayRecompute) {
        TuningParameters parameters = smt().build();
        PartSizes parts = PartSizes.of(new BatchOrder(task(), parameters.batchSize(), parameters.seed()), parameters.microBatchTokens());
        return RunMemory.warmUp(model, TuningPlan.of(model.config(), parameters, task().size()), parts.largest().tokens().length,
                mayRecompute);
    }

    private static void refused(long free, boolean mayRecompute, WarmUpPlacement.Passes passes, String how) {
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> new TuningRun(model, Pace.FULL_SPEED, shrinkingTo(free), Optional.empty(), mayRecompute).run(task(),
                    List.of(), smt().build(), TuningListener.NONE, NEVER, arena)).isInstanceOf(Problem.class)
                    .hasMessage(String.format(Locale.ROOT, "warm_up_memory is auto, and score mean_abs_sum needs 98,688 bytes for sums of "
                            + "gradients, and %,d on cpu for passes of %,d tokens at a time%s; free are %,d on the host; name fewer "
                            + "targets, lower micro_batch_tokens, free memory, or set score to abs_mean_sum, which needs no sums",
                            passes.bytes(), passes.tokens(), how, free));
        }
    }

    private static void placed(TuningParameters.Builder parameters, long free, WarmUpMemory where, long bytes, Activations how) {
        List<WarmUpPlacement> told = new ArrayList<>();
        try (Arena arena = Arena.ofConfined()) {
            new TuningRun(model, Pace.FULL_SPEED, shrinkingTo(free), Optional.empty(), true).run(task(), List.of(),
                    parameters.maxSteps(1).build(), new TuningListener() {
                        @Override
                        public void warmUpMemory(WarmUpPlacement placement) {
                            told.add(placement);
                        }
                    }, NEVER, arena);
        }
        assertThat(told).hasSize(1);
        assertThat(told.getFirst().memory()).isEqualTo(where);
        assertThat(told.getFirst().bytes()).isEqualTo(bytes);
        assertThat(told.getFirst().how()).isEqualTo(how);
    }

    /** Enough when a run begins, and then, when its warm-up does, this much. */
    private static FreeMemory shrinkingTo(long free) {
        AtomicBoolean begun = new AtomicBoolean();
        return _ -> OptionalLong.of(begun.getAndSet(true) ? free : Long.MAX_VALUE);
    }

    private static Smt warmUp(Score score, WarmUpMemory memory) {
        return new Smt(0.1, OptionalInt.of(16), TuningMethod.ATTENTION, 2, score, new Strategy.Global(), memory);
    }

    @Test
    void full_fine_tuning_leaves_a_delta_of_everything_that_answers_like_the_trained_model(@TempDir Path folder) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = smt().method(new FullFineTuning()).maxSteps(5).build();
            TuningOutcome outcome = new TuningRun(model).run(task(), task(), parameters, TuningListener.NONE, NEVER, arena);
            assertThat(outcome.blocks()).hasSize(3 * 7).allSatisfy(blocks -> assertThat(blocks.edge()).isEqualTo(32));
            assertThat(outcome.tensors()).extracting(WholeTensor::tensor).hasSize(8).contains("model.embed_tokens.weight",
                    "model.norm.weight", "model.layers.2.input_layernorm.weight");
            assertThat(outcome.blocks().stream().mapToLong(TensorBlocks::count).sum()
                    + outcome.tensors().stream().mapToLong(WholeTensor::count).sum()).isEqualTo(model.parameterCount());
            Path merged = MergedCheckpoint.write(BASE, folder.resolve("merged"), outcome.blocks(), outcome.tensors());
            try (LlamaModel trained = LlamaModel.open(torch, kernels, merged, ModelOptions.of(DType.BF16));
                    WeightOverlay none = WeightOverlay.none();
                    WeightOverlay overlay = WeightOverlay.of(model, outcome.blocks(), outcome.tensors())) {
                assertThat(servedLoss(trained, none)).isCloseTo(outcome.validationLoss().orElseThrow(), within(2e-2));
                assertThat(servedLoss(model, overlay)).isEqualTo(servedLoss(trained, none));
                assertThat(overlay.bytes()).isEqualTo(2 * model.parameterCount());
                assertThat(trained.fingerprint()).isNotEqualTo(model.fingerprint());
            }
        }
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    // ---- how it runs ----

    @Test
    void splitting_a_batch_leaves_the_steps_loss_and_norm_as_they_were() {
        Recorder whole = new Recorder();
        Recorder split = new Recorder();
        try (LlamaModel fp32 = LlamaModel.open(torch, kernels, BASE, ModelOptions.of(DType.FP32)); Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = smt().maxSteps(3).build();
            new TuningRun(fp32).run(task(), List.of(), parameters.toBuilder().microBatchTokens(100_000).build(), whole, NEVER, arena);
            new TuningRun(fp32).run(task(), List.of(), parameters.toBuilder().microBatchTokens(1).build(), split, NEVER, arena);
        }
        for (int step = 0; step < 3; step++) {
            assertThat(split.steps.get(step).loss()).isCloseTo(whole.steps.get(step).loss(), within(1e-4));
            assertThat(split.steps.get(step).gradientNorm()).isCloseTo(whole.steps.get(step).gradientNorm(), within(1e-3));
            assertThat(split.steps.get(step).tokens()).isEqualTo(whole.steps.get(step).tokens());
        }
    }

    @Test
    void events_come_in_order_and_count_from_one() {
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            new TuningRun(model).run(task(), task(), smt().maxSteps(3).build(), recorder, NEVER, arena);
        }
        assertThat(recorder.events).containsExactly("planned", "warm-up 1/2", "warm-up 2/2", "selected", "step 1/3", "step 2/3", "step 3/3",
                "validated 3");
    }

    @Test
    void a_cancelled_run_stops_before_the_next_step_and_says_where() {
        cancelled(1, "the tuning run was cancelled before warm-up step 2 of 2; it leaves no result");
        cancelled(4, "the tuning run was cancelled before step 3 of 8; it leaves no result");
    }

    /** Cancels once so many warm-up and training steps have been made. */
    private static void cancelled(int after, String message) {
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            TuningParameters parameters = smt().maxSteps(8).build();
            assertThatThrownBy(() -> new TuningRun(model).run(task(), List.of(), parameters, recorder,
                    () -> recorder.warmUps.size() + recorder.steps.size() >= after, arena))
                    .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(Problem.Code.CANCELLED))
                    .hasMessage(message);
        }
        assertThat(recorder.warmUps.size() + recorder.steps.size()).isEqualTo(after);
    }

    @Test
    void memory_stays_flat_over_many_steps() throws IOException, InterruptedException {
        long growth = NativeGrowth.of(LongRun.class);
        // The compact buffer is 29 kB: one such tensor lost per step would be 35 MB. The JIT compiler takes some MB now and then.
        assertThat(growth).as("bytes of growth from step 600 to step 1800").isLessThan(16L << 20);
    }

    /** A program of its own, with the Java heap touched beforehand, so that what grows is native memory alone. */
    static final class LongRun implements TuningListener {

        private long early;

        static void main() {
            open();
            try (Arena arena = Arena.ofConfined()) {
                new TuningRun(model).run(task().subList(0, 4), List.of(), smt().batchSize(2).maxSteps(1800).build(), new LongRun(), NEVER,
                        arena);
            }
        }

        @Override
        public void step(StepReport report) {
            if (report.step() == 600) {
                early = NativeGrowth.anonymousBytes();
            } else if (report.step() == 1800) {
                System.out.println("growth " + (NativeGrowth.anonymousBytes() - early));
            }
        }
    }

    // ---- what is refused ----

    @Test
    void a_base_that_gives_no_number_fails_in_the_warm_up(@TempDir Path folder) throws IOException {
        try (LlamaModel broken = broken(folder); Arena arena = Arena.ofConfined()) {
            notFinite(broken, smt().build(), arena, "the loss of warm-up step 1 of 2 is NaN; nothing has been trained yet, so the base "
                    + "model itself gives this on the training data; check its weights");
            notFinite(broken, smt().method(RandomBlocks.of(0.05)).maxSteps(8).build(), arena, "the loss of step 1 of 8 is NaN; nothing has "
                    + "been trained yet, so the base model itself gives this on the training data; check its weights");
        }
    }

    @Test
    void a_run_that_diverges_fails_before_any_weight_moves() {
        TrainableBlocks blocks = new TrainableBlocks(model, 16, new TreeMap<>(Map.of(Projection.V.tensor(0), List.of(new BlockCoordinate(0,
                0)))));
        try (blocks; LlamaTraining training = new LlamaTraining(model, blocks);
                AdamWOptimizer optimizer = new AdamWOptimizer(torch, kernels, AdamWSettings.DEFAULT, AdamWOptimizer.slots(blocks))) {
            TrainingStep next = new TrainingStep(training, optimizer, LearningRate.constant(0.01), 1, 1000);
            next.take(0, 9, Packing.pack(task()));
            blocks.values().segment().setAtIndex(ValueLayout.JAVA_SHORT, 5, (short) 0x7FC0);
            byte[] before = blocks.values().segment().toArray(ValueLayout.JAVA_BYTE);
            assertThatThrownBy(() -> next.take(1, 9, Packing.pack(task()))).isInstanceOfSatisfying(Problem.class,
                    problem -> assertThat(problem.code()).isEqualTo(Problem.Code.NOT_FINITE))
                    .hasMessage("the loss of step 2 of 9 is NaN; training has diverged; try again with a learning_rate below 0.01, or with "
                            + "ramp_steps");
            assertThat(blocks.values().segment().toArray(ValueLayout.JAVA_BYTE)).isEqualTo(before);
        }
    }

    @Test
    void an_example_over_the_context_or_with_a_foreign_token_is_refused_by_its_number() {
        TuningExample fine = new TuningExample(new int[] {1, 2, 3}, 1);
        refused(List.of(fine, new TuningExample(new int[129], 1)), List.of(), Problem.Code.CONTEXT_LENGTH_EXCEEDED,
                "training example 2 has 129 tokens, and model model reads at most 128; shorten or remove it");
        refused(List.of(fine), List.of(new TuningExample(new int[] {1, 288}, 1)), Problem.Code.INVALID_TRAINING_FILE,
                "validation example 1 holds token id 288, and model model has ids 0 to 287; encode it with the model's tokenizer");
        refused(List.of(), List.of(), Problem.Code.INVALID_TRAINING_FILE, "there is no training example; give at least one");
    }

    private static void refused(List<TuningExample> training, List<TuningExample> validation, Problem.Code code, String message) {
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> new TuningRun(model).run(training, validation, smt().build(), TuningListener.NONE, NEVER, arena))
                    .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(code)).hasMessage(message);
        }
    }

    private static void notFinite(LlamaModel broken, TuningParameters parameters, Arena arena, String message) {
        assertThatThrownBy(() -> new TuningRun(broken).run(task(), List.of(), parameters, TuningListener.NONE, NEVER, arena))
                .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(Problem.Code.NOT_FINITE))
                .hasMessage(message);
    }

    // ---- the task: after "a b =" comes the sum, in a model's vocabulary of letters ----

    private static TuningParameters.Builder smt() {
        return TuningParameters.of(new Smt(0.1, OptionalInt.of(16), TuningMethod.ATTENTION, 2, Score.MEAN_ABS_SUM, new Strategy.Global()))
                .batchSize(8).learningRate(LearningRate.linear(2e-2)).microBatchTokens(256);
    }

    private static TuningOutcome run(TuningParameters parameters, Arena arena) {
        return new TuningRun(model).run(task(), List.of(), parameters, TuningListener.NONE, NEVER, arena);
    }

    /** The golden model with one weight that is not a number. */
    private static LlamaModel broken(Path folder) throws IOException {
        for (String file : List.of("config.json", "tokenizer.json")) {
            Files.copy(BASE.resolve(file), folder.resolve(file));
        }
        try (Arena arena = Arena.ofConfined(); var base = io.inlay.model.Checkpoint.open(BASE)) {
            List<DenseTensor> tensors = new ArrayList<>();
            base.config().parameters().forEach(parameter -> {
                MemorySegment stored = base.tensors().get(parameter.name()).bytes();
                MemorySegment values = arena.allocate(stored.byteSize(), 64).copyFrom(stored);
                if (parameter.name().equals(Projection.UP.tensor(1))) {
                    values.setAtIndex(ValueLayout.JAVA_SHORT, 3, (short) 0x7FC0);
                }
                tensors.add(new DenseTensor(parameter, values));
            });
            CheckpointWriter.write(folder.resolve("model.safetensors"), tensors);
        }
        return LlamaModel.open(torch, kernels, folder, ModelOptions.of(DType.BF16));
    }

    /** Remembers what a run says. */
    private static final class Recorder implements TuningListener {

        private final List<String> events = new ArrayList<>();
        private final List<WarmUpReport> warmUps = new ArrayList<>();
        private final List<StepReport> steps = new ArrayList<>();
        private final List<ValidationReport> validated = new ArrayList<>();

        @Override
        public void planned(TuningPlan plan) {
            events.add("planned");
        }

        @Override
        public void warmUp(WarmUpReport report) {
            warmUps.add(report);
            events.add("warm-up " + report.step() + "/" + report.steps());
        }

        @Override
        public void selected(SelectionReport report) {
            events.add("selected");
        }

        @Override
        public void step(StepReport report) {
            steps.add(report);
            events.add("step " + report.step() + "/" + report.steps());
        }

        @Override
        public void validated(ValidationReport report) {
            validated.add(report);
            events.add("validated " + report.step());
        }
    }
}
