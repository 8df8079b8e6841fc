package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOptions;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Whole runs in fp32 against PyTorch's, step by step: see tests/golden/tuning. */
class TuningGoldenTest {

    private static final Path FOLDER = Path.of("tests/golden/tuning");
    private static final double CLOSE = 1e-4;

    private static JsonNode golden;
    private static LlamaModel model;
    private static List<TuningExample> examples;

    @BeforeAll
    static void open() throws IOException {
        golden = new ObjectMapper().readTree(FOLDER.resolve("golden.json").toFile());
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), FOLDER.resolve("model"), ModelOptions.of(DType.FP32));
        examples = new ArrayList<>();
        for (JsonNode example : golden.get("examples")) {
            examples.add(new TuningExample(ints(example.get("tokens")), example.get("prompt").intValue()));
        }
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void batches_come_in_the_golden_order() {
        BatchOrder order = new BatchOrder(examples, golden.get("batch").intValue(), golden.get("seed").longValue());
        for (int epoch = 0; epoch < golden.get("order").size(); epoch++) {
            List<Integer> read = new ArrayList<>();
            for (int step = 0; step < order.stepsPerEpoch(); step++) {
                order.batch(epoch * order.stepsPerEpoch() + step).forEach(example -> read.add(examples.indexOf(example)));
            }
            assertThat(read).as("epoch " + epoch).containsExactly(boxed(golden.get("order").get(epoch)));
        }
    }

    @Test
    void twenty_smt_steps_equal_a_masked_full_gradient_in_pytorch() {
        JsonNode expected = golden.get("smt");
        int steps = expected.get("losses").size();
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(model).run(examples, examples, smt(steps), recorder, () -> false, arena);
            assertThat(recorder.warmUp).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("warm_up")));
            assertThat(recorder.losses).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("losses")));
            assertThat(recorder.norms).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("norms")));
            assertThat(recorder.rates).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("rates")));
            assertThat(outcome.validationLoss().orElseThrow()).isCloseTo(expected.get("last").doubleValue(), within(6 * CLOSE));
            requireScores(outcome.selection().orElseThrow(), doubles(expected.get("scores")));
            assertThat(places(outcome.blocks())).isEqualTo(selection(expected));
            for (TensorBlocks blocks : outcome.blocks()) {
                short[] bits = blocks.values().toArray(ValueLayout.JAVA_SHORT);
                Double[] values = doubles(expected.get("values").get(blocks.tensor()));
                for (int i = 0; i < bits.length; i++) {
                    float value = Float.intBitsToFloat(bits[i] << 16);
                    assertThat((double) value).isCloseTo(values[i], within(Math.abs(values[i]) / 256 + 1e-5));
                }
            }
        }
    }

    @Test
    void the_trained_blocks_equal_pytorchs_before_they_are_rounded() {
        JsonNode expected = golden.get("smt");
        int steps = expected.get("losses").size();
        TuningParameters parameters = smt(steps);
        BatchOrder order = new BatchOrder(examples, parameters.batchSize(), parameters.seed());
        try (TrainableBlocks blocks = new TrainableBlocks(model, golden.get("edge").intValue(), selection(expected));
                LlamaTraining training = new LlamaTraining(model, blocks);
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), parameters.adamW(),
                        AdamWOptimizer.slots(blocks))) {
            float[] before = Scope.floats(model.torch(), blocks.values());
            TrainingStep next = new TrainingStep(training, optimizer, parameters.learningRate(), parameters.clip(),
                    parameters.microBatchTokens());
            for (int step = 0; step < steps; step++) {
                next.take(step, steps, Packing.pack(order.batch(step)));
            }
            float[] after = Scope.floats(model.torch(), blocks.values());
            double error = 0;
            double moved = 0;
            double length = 0;
            int i = 0;
            for (String tensor : selection(expected).keySet()) {
                for (double value : doubles(expected.get("values").get(tensor))) {
                    error += Math.pow(after[i] - value, 2);
                    moved += Math.pow(after[i] - before[i], 2);
                    length += value * value;
                    i++;
                }
            }
            assertThat(i).isEqualTo(after.length);
            assertThat(Math.sqrt(error / length)).as("relative to the values").isLessThan(CLOSE);
            assertThat(Math.sqrt(error / moved)).as("relative to what training moved").isLessThan(10 * CLOSE);
        }
    }

    @Test
    void full_fine_tuning_with_decay_equals_pytorchs() {
        JsonNode expected = golden.get("full");
        int steps = expected.get("losses").size();
        TuningParameters parameters = smt(steps).toBuilder().method(new FullFineTuning())
                .adamW(new AdamWSettings(0.9, 0.95, 1e-8, golden.get("full_decay").doubleValue())).build();
        Recorder recorder = new Recorder();
        try (Arena arena = Arena.ofConfined()) {
            TuningOutcome outcome = new TuningRun(model).run(examples, examples, parameters, recorder, () -> false, arena);
            assertThat(recorder.losses).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("losses")));
            assertThat(recorder.norms).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("norms")));
            assertThat(outcome.validationLoss().orElseThrow()).isCloseTo(expected.get("last").doubleValue(), within(6 * CLOSE));
            assertThat(outcome.selection()).isEmpty();
        }
    }

    @Test
    void pretraining_makes_the_same_steps_as_full_fine_tuning() {
        JsonNode expected = golden.get("full");
        int steps = expected.get("losses").size();
        TuningParameters like = smt(steps);
        BatchOrder order = new BatchOrder(examples, like.batchSize(), like.seed());
        List<Double> losses = new ArrayList<>();
        try (TrainableModel weights = new TrainableModel(model)) {
            new Pretraining(model, new Pretraining.Settings(steps, like.learningRate(),
                    new AdamWSettings(0.9, 0.95, 1e-8, golden.get("full_decay").doubleValue()), like.clip(), 1000))
                    .run(weights, step -> Packing.pack(order.batch(step)), report -> losses.add(report.loss()), () -> false);
        }
        assertThat(losses).usingComparatorForType(relative(), Double.class).containsExactly(doubles(expected.get("losses")));
    }

    private static TuningParameters smt(int steps) {
        int edge = golden.get("edge").intValue();
        double budget = (golden.get("blocks").intValue() + 0.5) * edge * edge / model.parameterCount();
        Smt smt = new Smt(budget, OptionalInt.of(edge), TuningMethod.ATTENTION, golden.get("warm_up_steps").intValue(), Score.MEAN_ABS_SUM,
                new Strategy.Global());
        return TuningParameters.of(smt).maxSteps(steps).batchSize(golden.get("batch").intValue()).seed(golden.get("seed").longValue())
                .learningRate(new LearningRate(golden.get("peak").doubleValue(), LearningRate.Shape.LINEAR, golden.get("ramp").intValue()))
                .clip(golden.get("clip").doubleValue()).microBatchTokens(24).build();
    }

    private static SortedMap<String, List<BlockCoordinate>> selection(JsonNode expected) {
        SortedMap<String, List<BlockCoordinate>> selection = new TreeMap<>();
        expected.get("selection").properties().forEach(entry -> {
            List<BlockCoordinate> places = new ArrayList<>();
            entry.getValue().forEach(place -> places.add(new BlockCoordinate(place.get(0).intValue(), place.get(1).intValue())));
            selection.put(entry.getKey(), places);
        });
        return selection;
    }

    private static SortedMap<String, List<BlockCoordinate>> places(List<TensorBlocks> blocks) {
        SortedMap<String, List<BlockCoordinate>> places = new TreeMap<>();
        blocks.forEach(part -> places.put(part.tensor(), part.coordinates()));
        return places;
    }

    private static java.util.Comparator<Double> relative() {
        return (a, b) -> Math.abs(a - b) <= CLOSE * Math.abs(b) ? 0 : Double.compare(a, b);
    }

    /** The report's view of the scores against every block's: the mean of each matrix, and the quantiles of all. */
    private static void requireScores(SelectionReport report, Double[] scores) {
        float[] all = new float[scores.length];
        int block = 0;
        for (SelectionReport.MatrixCount matrix : report.matrices()) {
            double sum = 0;
            for (int i = 0; i < matrix.candidates(); i++, block++) {
                sum += scores[block];
                all[block] = scores[block].floatValue();
            }
            double mean = sum / matrix.candidates();
            assertThat(matrix.meanScore()).as(matrix.tensor()).isCloseTo(mean, within(CLOSE * mean));
        }
        assertThat(block).isEqualTo(scores.length);
        assertThat(report.scores().orElseThrow()).usingRecursiveComparison().withComparatorForType(relative(), Double.class)
                .isEqualTo(SelectionReport.Quantiles.of(all));
    }

    private static Double[] doubles(JsonNode values) {
        Double[] all = new Double[values.size()];
        for (int i = 0; i < all.length; i++) {
            all[i] = values.get(i).doubleValue();
        }
        return all;
    }

    private static int[] ints(JsonNode values) {
        int[] all = new int[values.size()];
        for (int i = 0; i < all.length; i++) {
            all[i] = values.get(i).intValue();
        }
        return all;
    }

    private static Integer[] boxed(JsonNode values) {
        return java.util.Arrays.stream(ints(values)).boxed().toArray(Integer[]::new);
    }

    /** Remembers what a run says. */
    private static final class Recorder implements TuningListener {

        private final List<Double> warmUp = new ArrayList<>();
        private final List<Double> losses = new ArrayList<>();
        private final List<Double> norms = new ArrayList<>();
        private final List<Double> rates = new ArrayList<>();

        @Override
        public void warmUp(WarmUpReport report) {
            warmUp.add(report.loss());
        }

        @Override
        public void step(StepReport report) {
            losses.add(report.loss());
            norms.add(report.gradientNorm());
            rates.add(report.learningRate());
        }
    }
}
