package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.DeltaTensors;
import io.inlay.model.Golden;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.LowRankAdapters;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.TrainableModel.Parameter;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tuning.TuningMethod.LowRank;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** LoRA and DoRA in fp32 against PEFT's, step by step: see tests/golden/adapters. */
class AdapterGoldenTest {

    private static final Path TUNING = Path.of("tests/golden/tuning");
    private static final double CLOSE = 1e-4;

    private static JsonNode run;
    private static Golden golden;
    private static LlamaModel model;
    private static List<TuningExample> examples;

    @BeforeAll
    static void open() throws IOException {
        run = new ObjectMapper().readTree(TUNING.resolve("golden.json").toFile());
        golden = Golden.in(Path.of("tests/golden/adapters"));
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), TUNING.resolve("model"), ModelOptions.of(DType.FP32));
        examples = new ArrayList<>();
        for (JsonNode example : run.get("examples")) {
            int[] tokens = IntStream.range(0, example.get("tokens").size()).map(i -> example.get("tokens").get(i).intValue()).toArray();
            examples.add(new TuningExample(tokens, example.get("prompt").intValue()));
        }
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @ParameterizedTest
    @EnumSource
    void twenty_steps_equal_pefts(LowRank.Kind kind) {
        train(kind, 0, "");
    }

    /** PEFT draws its masks from torch's generator; the golden run puts ours into its place, so that the formulas can be compared. */
    @ParameterizedTest
    @EnumSource
    void steps_with_dropout_equal_pefts_with_the_same_masks(LowRank.Kind kind) {
        train(kind, 0.3, "dropout.");
    }

    private static void train(LowRank.Kind kind, double dropout, String prefix) {
        String name = wire(kind) + "." + prefix;
        float[] losses = golden.floats(name + "losses");
        float[] norms = golden.floats(name + "norms");
        BatchOrder order = new BatchOrder(examples, run.get("batch").intValue(), run.get("seed").longValue());
        try (LowRankAdapters adapters = initial(kind, dropout); LlamaTraining training = new LlamaTraining(model, adapters);
                AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), new AdamWSettings(0.9, 0.95, 1e-8, 0.1),
                        AdamWOptimizer.slots(adapters))) {
            TrainingStep next = new TrainingStep(training, optimizer, new LearningRate(run.get("peak").doubleValue(),
                    LearningRate.Shape.LINEAR, run.get("ramp").intValue()), run.get("clip").doubleValue(), 1000);
            for (int step = 0; step < losses.length; step++) {
                StepReport report = next.take(step, losses.length, Packing.pack(order.batch(step)));
                assertThat(report.loss()).as("loss of step %d", step).isCloseTo(losses[step], within(CLOSE * losses[step]));
                assertThat(report.gradientNorm()).as("norm of step %d", step).isCloseTo(norms[step], within(CLOSE * norms[step]));
            }
            double last = golden.floats(name + "last")[0];
            assertThat(training.evaluate(Packing.pack(examples)).mean()).isCloseTo(last, within(CLOSE * last));
            assertThat(adapters.parameters()).hasSize(3 * 5 * (kind == LowRank.Kind.DORA ? 3 : 2));
            adapters.parameters().forEach((parameter, values) -> {
                float[] expected = golden.floats(name + "final." + parameter);
                assertThat(distance(values(values), expected)).as(parameter).isLessThan(CLOSE);
            });
        }
    }

    @ParameterizedTest
    @EnumSource
    void merged_weights_equal_pefts_merge_and_unload(LowRank.Kind kind) {
        try (LowRankAdapters adapters = trained(kind); Scope scope = new Scope(model.torch())) {
            for (Projection target : LowRank.DEFAULT_TARGETS) {
                float[] expected = golden.floats(wire(kind) + ".merged." + target.tensor(1));
                assertThat(distance(Scope.floats(model.torch(), adapters.merged(target.tensor(1), scope)), expected)).as(target.name())
                        .isLessThan(1e-6);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void the_result_answers_like_pefts_merged_model_but_for_one_rounding_to_bf16(LowRank.Kind kind) {
        float[] exact = golden.floats(wire(kind) + ".logits");
        float[] rounded = golden.floats(wire(kind) + ".logits.rounded");
        try (LowRankAdapters adapters = trained(kind); Arena arena = Arena.ofConfined()) {
            DeltaTensors result = adapters.export(arena);
            try (WeightOverlay overlay = WeightOverlay.of(model, result.blocks(), result.tensors());
                    WeightOverlay none = WeightOverlay.none()) {
                float[] served = logits(overlay);
                // A weight that lies between two bf16 values may fall to either side; a few do.
                assertThat(distance(served, rounded)).isLessThan(1e-3);
                assertThat(distance(served, exact)).isLessThan(1.2 * distance(rounded, exact)).isLessThan(1e-2);
                assertThat(distance(logits(none), exact)).isGreaterThan(0.1);
            }
        }
    }

    /** After the last token of every example, one after another. */
    private static float[] logits(WeightOverlay overlay) {
        int vocabulary = model.config().vocabularySize();
        float[] all = new float[examples.size() * vocabulary];
        try (LlamaInference inference = new LlamaInference(model)) {
            for (int e = 0; e < examples.size(); e++) {
                try (KvCache cache = inference.cache(32)) {
                    System.arraycopy(inference.prefill(examples.get(e).tokens(), cache, overlay), 0, all, e * vocabulary, vocabulary);
                }
            }
        }
        return all;
    }

    private static LowRankAdapters adapters(LowRank.Kind kind, double dropout) {
        List<String> targets = IntStream.range(0, 3).boxed().flatMap(layer -> LowRank.DEFAULT_TARGETS.stream()
                .map(target -> target.tensor(layer))).toList();
        long seed = run.get("seed").longValue();
        return new LowRankAdapters(model, new LowRankAdapters.Settings(4, 16, dropout, kind == LowRank.Kind.DORA, seed), targets);
    }

    private static LowRankAdapters initial(LowRank.Kind kind, double dropout) {
        LowRankAdapters adapters = adapters(kind, dropout);
        adapters.parameters().forEach((name, parameter) -> {
            if (name.endsWith("lora_A.weight")) {
                fill(parameter, golden.floats(wire(kind) + ".initial." + name));
            }
        });
        return adapters;
    }

    private static LowRankAdapters trained(LowRank.Kind kind) {
        LowRankAdapters adapters = adapters(kind, 0);
        SortedMap<String, Parameter> parameters = adapters.parameters();
        parameters.forEach((name, parameter) -> fill(parameter, golden.floats(wire(kind) + ".final." + name)));
        return adapters;
    }

    private static void fill(Parameter parameter, float[] values) {
        MemorySegment.copy(values, 0, parameter.weight().segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    private static float[] values(Parameter parameter) {
        return Scope.floats(model.torch(), parameter.weight());
    }

    /** |a - b| / |b|. */
    private static double distance(float[] made, float[] expected) {
        assertThat(made).hasSameSizeAs(expected);
        double error = IntStream.range(0, made.length).mapToDouble(i -> Math.pow((double) made[i] - expected[i], 2)).sum();
        double length = IntStream.range(0, expected.length).mapToDouble(i -> Math.pow(expected[i], 2)).sum();
        return Math.sqrt(error / length);
    }

    private static String wire(LowRank.Kind kind) {
        return kind.name().toLowerCase(java.util.Locale.ROOT);
    }
}
