package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.Evaluation.Settings;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** On a golden model (see tests/golden/llama), whose greedy tokens are transformers'. */
class EvaluationTest {

    private static final BooleanSupplier NEVER = () -> false;

    private static Golden golden;
    private static LlamaModel model;
    private static int[] prompt;
    private static int[] greedy;

    @BeforeAll
    static void open() {
        golden = Golden.of("llama31-like");
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), golden.folder(), ModelOptions.of(DType.FP32));
        prompt = golden.ints("prompt");
        int[] tokens = golden.ints("greedy");
        int end = IntStream.range(0,
                tokens.length).filter(i -> model.tokenizer().eos().contains(tokens[i])).findFirst().orElse(tokens.length);
        greedy = Arrays.copyOf(tokens, end);
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void answers_are_the_greedy_ones_of_transformers() {
        String text = model.tokenizer().decode(greedy);
        MetricReport report = base(List.of(example("  " + text + "\n"), example(text + "x")), new Settings(Set.of(Metric.EXACT_MATCH), 9,
                64));
        assertThat(report.shares()).isEqualTo(Map.of(Metric.EXACT_MATCH, 0.5));
        assertThat(report.examples()).isEqualTo(2);
        assertThat(report.tokens()).isEqualTo(2L * greedy.length);
        assertThat(report.step()).isEqualTo(7);
    }

    @Test
    void each_metric_judges_as_many_tokens_as_it_allows_whatever_others_read() {
        String five = model.tokenizer().decode(Arrays.copyOf(greedy, 5));
        EvaluationExample example = new EvaluationExample(prompt, five, Optional.of("3"));
        assertThat(base(List.of(example), new Settings(EnumSet.of(Metric.EXACT_MATCH, Metric.MATH), 1, 5)).shares())
                .containsEntry(Metric.EXACT_MATCH, 1.0);
        assertThat(base(List.of(example), new Settings(EnumSet.of(Metric.EXACT_MATCH, Metric.MATH), 1, 6)).shares())
                .containsEntry(Metric.EXACT_MATCH, 0.0);
        assertThat(Settings.of(Metric.COMMONSENSE).longest()).isEqualTo(32);
        assertThat(Settings.of(Metric.MATH, Metric.EXACT_MATCH).longest()).isEqualTo(256);
        assertThat(Settings.of(Metric.EXACT_MATCH).longest()).isEqualTo(64);
    }

    @Test
    void an_answer_ends_with_the_context() {
        int[] nearlyFull = new int[model.maxContext() - 3];
        Arrays.setAll(nearlyFull, i -> prompt[i % prompt.length]);
        MetricReport report = base(List.of(new EvaluationExample(nearlyFull, "x", Optional.empty())), Settings.of(Metric.EXACT_MATCH));
        assertThat(report.tokens()).isLessThanOrEqualTo(3);
    }

    @Test
    void only_the_first_examples_are_answered() {
        List<EvaluationExample> many = IntStream.range(0, 8).mapToObj(i -> example("x" + i)).toList();
        assertThat(base(many, new Settings(Set.of(Metric.EXACT_MATCH), 3, 2)).examples()).isEqualTo(3);
    }

    @Test
    void blocks_that_are_trained_are_read_where_they_are() {
        TreeMap<String, List<BlockCoordinate>> places = new TreeMap<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            places.put(Projection.V.tensor(layer), List.of(new BlockCoordinate(0, 0)));
            places.put(Projection.DOWN.tensor(layer), List.of(new BlockCoordinate(0, 1)));
        }
        String before = model.tokenizer().decode(greedy);
        Evaluation evaluation = new Evaluation(model, List.of(example(before)), Settings.of(Metric.EXACT_MATCH));
        try (TrainableBlocks blocks = new TrainableBlocks(model, 16, places); Arena arena = Arena.ofConfined();
                LlamaInference inference = new LlamaInference(model)) {
            assertThat(evaluation.measure(blocks, 0, Pace.FULL_SPEED, NEVER).shares().get(Metric.EXACT_MATCH)).isOne();
            for (long i = 0; i < blocks.count(); i++) {
                // Numbers that bf16 holds, since the export below is in bf16.
                blocks.values().segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, i % 3 == 0 ? 2 : -1);
            }
            assertThat(evaluation.measure(blocks, 1, Pace.FULL_SPEED, NEVER).shares().get(Metric.EXACT_MATCH)).isZero();
            List<TensorBlocks> exported = blocks.export(arena);
            try (WeightOverlay overlay = WeightOverlay.of(model, exported)) {
                Evaluation others = new Evaluation(model, texts(inference, overlay), Settings.of(Metric.EXACT_MATCH));
                assertThat(others.measure(blocks, 1, Pace.FULL_SPEED, NEVER).shares().get(Metric.EXACT_MATCH)).isOne();
            }
        }
    }

    /** What the overlay answers, as the reference of an example. */
    private static List<EvaluationExample> texts(LlamaInference inference, WeightOverlay overlay) {
        List<Integer> drawn = new ArrayList<>();
        try (var cache = inference.cache(prompt.length + 64)) {
            float[] logits = inference.prefill(prompt, cache, overlay);
            while (drawn.size() < 64) {
                float[] now = logits;
                int next = IntStream.range(0, now.length).reduce((best, i) -> now[i] > now[best] ? i : best).orElseThrow();
                if (model.tokenizer().eos().contains(next)) {
                    break;
                }
                drawn.add(next);
                logits = inference.decode(next, cache, overlay);
            }
        }
        return List.of(example(model.tokenizer().decode(drawn.stream().mapToInt(Integer::intValue).toArray())));
    }

    @Test
    void full_fine_tuning_is_evaluated_on_its_own_copy() {
        Evaluation evaluation = new Evaluation(model, List.of(example(model.tokenizer().decode(greedy))), Settings.of(Metric.EXACT_MATCH));
        try (TrainableModel full = new TrainableModel(model)) {
            assertThat(evaluation.measure(full, 0, Pace.FULL_SPEED, NEVER).shares().get(Metric.EXACT_MATCH)).isOne();
            model.torch().zero(full.parameters().get(Projection.DOWN.tensor(0)).weight());
            assertThat(evaluation.measure(full, 1, Pace.FULL_SPEED, NEVER).shares().get(Metric.EXACT_MATCH)).isZero();
        }
    }

    @Test
    void the_pace_is_asked_before_every_token_and_a_cancelled_evaluation_says_where_it_was() {
        int[] asked = {0};
        Evaluation evaluation = new Evaluation(model, List.of(example("a"), example("b")), new Settings(Set.of(Metric.EXACT_MATCH), 5, 4));
        try (TrainableModel full = new TrainableModel(model)) {
            MetricReport report = evaluation.measure(full, 0, _ -> asked[0]++, NEVER);
            assertThat((long) asked[0]).isEqualTo(report.tokens()).isEqualTo(8);
            assertThatThrownBy(() -> evaluation.measure(full, 0, _ -> asked[0]++, () -> asked[0] > 8 + 4))
                    .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(Problem.Code.CANCELLED))
                    .hasMessage("the evaluation was cancelled at example 2 of 2");
        }
    }

    @Test
    void what_cannot_be_measured_is_refused() {
        refused(() -> new Evaluation(model, List.of(), Settings.of(Metric.MATH)),
                "there is no example to evaluate with; give at least one");
        refused(() -> new Evaluation(model, List.of(example("none")), Settings.of(Metric.MATH)),
                "an evaluation example cannot be judged by "
                + "metric math: no answer is given, and none is found in the output; it must be a number, or a letter A to E");
        refused(() -> new Evaluation(model, List.of(new EvaluationExample(prompt, "x", Optional.of("maybe"))),
                Settings.of(Metric.COMMONSENSE)), "an evaluation example cannot be judged by metric commonsense: answer is 'maybe'; it "
                + "must be true, false, solution1-2, answer1-5, ending1-4 or option1-2");
        refused(() -> new Settings(Set.of(), 1, 1), "metrics is empty; name at least one of exact_match, commonsense, math, or leave it "
                + "out");
        refused(() -> new Settings(Set.of(Metric.MATH), 0, 1), "metric_examples is 0; it must be 1 to 1000000");
        refused(() -> new Settings(Set.of(Metric.MATH), 1, 0), "metric_max_tokens is 0; it must be 1 to 1000000");
    }

    private static void refused(Runnable making, String message) {
        assertThatThrownBy(making::run).isInstanceOf(Problem.class).hasMessage(message);
    }

    private static EvaluationExample example(String reference) {
        return new EvaluationExample(prompt, reference, Optional.empty());
    }

    private static MetricReport base(List<EvaluationExample> examples, Settings settings) {
        try (LlamaInference inference = new LlamaInference(model)) {
            return new Evaluation(model, examples, settings).measure(inference, WeightOverlay.none(), 7, Pace.FULL_SPEED, NEVER);
        }
    }
}
