package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.GradientProbe;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOptions;
import io.inlay.model.PackedBatch;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.Smt;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Estimates held to what runs of the embedded model take and hold. */
class CalibrationTest {

    private static LlamaModel model;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("model-store/base/inlay-tiny"), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void the_time_of_a_small_run_is_estimated_within_a_factor_of_two() {
        List<TuningExample> examples = examples(48, 20, 120);
        List<TuningExample> validation = examples(16, 20, 120);
        TuningParameters parameters = TuningParameters.of(Smt.of(0.02)).maxSteps(8).batchSize(8).microBatchTokens(400).evaluateEvery(4)
                .build();
        TuningPlan plan = TuningPlan.of(model.config(), parameters, examples.size());
        assertThat(plan.warmUpSteps()).isEqualTo(6);
        // Other programs may take the cores for a while; they seldom do it three times.
        List<Double> ratios = new ArrayList<>();
        for (int attempt = 0; attempt < 3 && ratios.stream().noneMatch(CalibrationTest::near); attempt++) {
            RunCost cost = new Calibration(model, free(1L << 40), true).measure(plan, examples, validation, Optional.empty());
            double estimated = cost.time().total().toNanos();
            assertThat(cost.time().spent()).isLessThan(Duration.ofSeconds(60));
            ratios.add(estimated / run(examples, validation, parameters));
        }
        double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage() / Runtime.getRuntime().availableProcessors();
        assumeTrue(ratios.stream().anyMatch(CalibrationTest::near) || load < 2, "other programs keep the processor too busy for any time");
        assertThat(ratios).as("estimated by measured").anyMatch(CalibrationTest::near);
    }

    private static boolean near(double ratio) {
        return ratio >= 0.5 && ratio <= 2;
    }

    private static long run(List<TuningExample> examples, List<TuningExample> validation, TuningParameters parameters) {
        try (Arena arena = Arena.ofConfined()) {
            long start = System.nanoTime();
            new TuningRun(model).run(examples, validation, parameters, TuningListener.NONE, () -> false, arena);
            return System.nanoTime() - start;
        }
    }

    @Test
    void memory_is_estimated_within_a_quarter_of_what_a_run_holds() {
        List<TuningExample> examples = examples(20, 30, 200);
        TuningParameters parameters = TuningParameters.of(Smt.of(0.02)).batchSize(10).microBatchTokens(1024).build();
        TuningPlan plan = TuningPlan.of(model.config(), parameters, examples.size());
        RunCost.Memory estimated = new Calibration(model, free(1L << 40), true).measure(plan, examples, List.of(), Optional.empty())
                .memory();
        BatchOrder order = new BatchOrder(examples, parameters.batchSize(), parameters.seed());
        BlockGrid grid = plan.blocks().orElseThrow().grid();
        try (BlockScores scores = new BlockScores(model.torch(), model.kernels(), model.device(), grid, TuningMethod.Score.MEAN_ABS_SUM);
                LlamaTraining probe = new LlamaTraining(model, new GradientProbe(scores.tensors(), scores::accept))) {
            epoch(probe, order, parameters, scores);
            assertThat(estimated.warmUp()).isEqualTo(scores.bytes());
            close(estimated.warmUpActivations() + estimated.logits(), probe.workspaceBytes());
        }
        BlockSelection selection = BlockSelection.random(grid, plan.blocks().orElseThrow().count(), 3);
        try (TrainableBlocks blocks = new TrainableBlocks(model, grid.edge(), selection.byTensor());
                LlamaTraining training = new LlamaTraining(model, blocks);
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), parameters.adamW(),
                        AdamWOptimizer.slots(blocks))) {
            epoch(training, order, parameters, null);
            assertThat(estimated.trained()).isEqualTo(blocks.values().bytes() + blocks.gradients().bytes());
            assertThat(estimated.optimizer()).isEqualTo(optimizer.bytes());
            close(estimated.activations() + estimated.logits(), training.workspaceBytes());
            close(estimated.own(), Math.max(estimated.warmUp() + estimated.warmUpActivations() + estimated.logits(),
                    blocks.values().bytes() + blocks.gradients().bytes() + optimizer.bytes() + training.workspaceBytes()));
        }
        assertThat(estimated.base()).isEqualTo(model.bytes());
        assertThat(estimated.peak()).isEqualTo(estimated.base() + estimated.own());
    }

    private static void close(long estimated, long held) {
        assertThat((double) estimated).isCloseTo(held, within(0.25 * held));
    }

    /** All parts of an epoch's batches, as a run passes them. */
    private static void epoch(LlamaTraining training, BatchOrder order, TuningParameters parameters, BlockScores scores) {
        for (int step = 0; step < order.stepsPerEpoch(); step++) {
            List<PackedBatch> parts = Packing.split(Packing.pack(order.batch(step)), parameters.microBatchTokens());
            if (scores != null) {
                scores.beginStep(parts.size());
            }
            parts.forEach(part -> training.forwardBackward(part, 1f));
        }
    }

    @Test
    void what_there_is_to_read_is_counted() {
        List<TuningExample> examples = List.of(new TuningExample(new int[] {1, 2, 3, 4}, 2), new TuningExample(new int[] {1, 2, 3}, 0),
                new TuningExample(new int[] {1, 2}, 1));
        TuningParameters parameters = TuningParameters.of(Smt.of(0.02)).batchSize(2).epochs(4).build();
        RunCost cost = new Calibration(model, free(1L << 40), true).measure(TuningPlan.of(model.config(), parameters, 3), examples,
                examples.subList(0, 1), Optional.of(new Evaluation(model, List.of(new EvaluationExample(new int[] {1}, "x",
                Optional.empty())),
                        Evaluation.Settings.of(Metric.EXACT_MATCH))));
        assertThat(cost.data().examples()).isEqualTo(3);
        assertThat(cost.data().validationExamples()).isEqualTo(1);
        assertThat(cost.data().tokens()).isEqualTo(9);
        assertThat(cost.data().targets()).isEqualTo(2 + 2 + 1);
        assertThat(cost.data().longest()).isEqualTo(4);
        assertThat(cost.data().largestPart()).isBetween(3, 5);
        assertThat(cost.time().metrics()).isPositive();
        assertThat(cost.time().validation()).isPositive();
        assertThat(cost.warmUp()).hasValueSatisfying(placement -> assertThat(placement.memory()).isEqualTo(WarmUpMemory.DEVICE));
    }

    @Test
    void full_fine_tuning_is_estimated_without_a_warm_up() {
        List<TuningExample> examples = examples(8, 20, 40);
        TuningPlan plan = TuningPlan.of(model.config(), TuningParameters.of(new FullFineTuning()).batchSize(4).build(), 8);
        RunCost cost = new Calibration(model, free(1L << 40), true).measure(plan, examples, List.of(), Optional.empty());
        try (TrainableModel full = new TrainableModel(model)) {
            assertThat(cost.memory().trained()).isEqualTo(full.parameters().values().stream()
                    .mapToLong(each -> each.weight().bytes() + each.gradient().bytes()).sum());
        }
        assertThat(cost.memory().optimizer()).isEqualTo(12 * model.parameterCount());
        assertThat(cost.time().warmUp()).isZero();
        assertThat(cost.warmUp()).isEmpty();
    }

    @Test
    void what_does_not_fit_into_free_memory_is_refused_before_it_is_tried() {
        List<TuningExample> examples = examples(4, 20, 40);
        TuningPlan plan = TuningPlan.of(model.config(), TuningParameters.of(new FullFineTuning()).build(), 4);
        assertThatThrownBy(() -> new Calibration(model, free(1000), true).measure(plan, examples, List.of(), Optional.empty()))
                .isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_HYPERPARAMETERS))
                .hasMessage(String.format("the job would train %,d parameters, which take %,d bytes with gradients, masters and moments, "
                + "and 1,000 are free; lower the budget or free memory", model.parameterCount(), 18 * model.parameterCount()));
    }

    @Test
    void a_part_that_is_cut_keeps_its_share_of_targets() {
        int[] tokens = IntStream.range(0, 100).toArray();
        int[] targets = IntStream.range(0, 100).map(i -> i < 75 ? -1 : i).toArray();
        PackedBatch cut = PartSizes.cut(new PackedBatch(tokens, targets, new int[] {100}), 20);
        assertThat(cut.lengths()).containsExactly(20);
        assertThat(cut.targetCount()).isEqualTo(5);
        assertThat(cut.tokens()).isEqualTo(IntStream.range(60, 80).toArray());
        PackedBatch several = new PackedBatch(tokens, targets, new int[] {10, 15, 75});
        assertThat(PartSizes.cut(several, 30).lengths()).containsExactly(10, 15);
        assertThat(PartSizes.cut(several, 100)).isSameAs(several);
    }

    private static io.inlay.tensor.FreeMemory free(long bytes) {
        return _ -> OptionalLong.of(bytes);
    }

    /** Sequences of random tokens, of lengths in the range; the last third is to be predicted. */
    private static List<TuningExample> examples(int count, int shortest, int longest) {
        SplittableRandom random = new SplittableRandom(5);
        return IntStream.range(0, count).mapToObj(_ -> {
            int[] tokens = random.ints(random.nextInt(shortest, longest + 1), 5, model.config().vocabularySize()).toArray();
            return new TuningExample(tokens, tokens.length * 2 / 3);
        }).toList();
    }
}
