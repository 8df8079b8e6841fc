package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningOutcome.Ending;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** When runs end and with which values, on the golden tuning checkpoint. */
class EndingTest {

    private static LlamaModel model;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    /** At a rate that grows until it overshoots: the validation loss falls and then rises. */
    private static TuningParameters.Builder rash() {
        return TuningParameters.of(new RandomBlocks(0.1, OptionalInt.of(16), TuningMethod.ATTENTION)).batchSize(4)
                .learningRate(new LearningRate(1, LearningRate.Shape.CONSTANT, 30)).evaluateEvery(2).maxSteps(30);
    }

    private static List<TuningExample> training() {
        return examples(3);
    }

    /** Like the training examples at first sight; what they teach in the end is wrong for these. */
    private static List<TuningExample> validation() {
        return examples(5);
    }

    private static List<TuningExample> examples(int factor) {
        List<TuningExample> examples = new ArrayList<>();
        for (int a = 0; a < 12; a++) {
            examples.add(new TuningExample(new int[] {0, 20 + a, 40, 60 + a * factor % 8, 1}, 3));
        }
        return examples;
    }

    private static TuningOutcome run(TuningParameters parameters, List<Double> losses, TuningControl control, Arena arena) {
        TuningListener listener = new TuningListener() {
            @Override
            public void validated(ValidationReport report) {
                if (report.step() > 0) {
                    losses.add(report.loss());
                }
            }
        };
        return new TuningRun(model).run(training(), validation(), parameters, listener, control, TuningCheckpoints.NONE, arena);
    }

    private static final TuningControl ALWAYS = () -> TuningControl.Wish.GO_ON;

    private static int lowest(List<Double> losses) {
        int lowest = 0;
        for (int i = 1; i < losses.size(); i++) {
            lowest = losses.get(i) < losses.get(lowest) ? i : lowest;
        }
        return lowest;
    }

    private static List<byte[]> bits(TuningOutcome outcome) {
        return outcome.blocks().stream().map(TensorBlocks::values).map(values -> values.toArray(ValueLayout.JAVA_BYTE)).toList();
    }

    @Test
    void keep_best_leaves_the_values_of_the_lowest_validation_loss_bit_for_bit() {
        try (Arena arena = Arena.ofConfined()) {
            List<Double> losses = new ArrayList<>();
            TuningOutcome last = run(rash().build(), losses, ALWAYS, arena);
            int best = 2 * (lowest(losses) + 1);
            assertThat(best).as("losses %s", losses).isBetween(4, 28);
            assertThat(last.best()).contains(new Evaluations.Best(best, losses.get(lowest(losses))));
            assertThat(last.validationLoss()).hasValue(losses.getLast());

            TuningOutcome kept = run(rash().keepBest(true).build(), new ArrayList<>(), ALWAYS, arena);
            assertThat(kept.ending()).isEqualTo(Ending.COMPLETED);
            assertThat(kept.steps()).isEqualTo(30);
            assertThat(kept.validationLoss()).hasValue(losses.get(lowest(losses)));
            TuningOutcome untilThere = run(rash().maxSteps(best).build(), new ArrayList<>(), ALWAYS, arena);
            assertThat(bits(kept)).containsExactlyElementsOf(bits(untilThere));
            assertThat(bits(kept)).isNotEqualTo(bits(last));
        }
    }

    @Test
    void a_run_ends_early_once_validation_has_not_improved_for_so_many_evaluations() {
        try (Arena arena = Arena.ofConfined()) {
            List<Double> losses = new ArrayList<>();
            TuningOutcome outcome = run(rash().maxSteps(400).earlyStop(new EarlyStop(3, 0)).build(), losses, ALWAYS, arena);
            assertThat(outcome.ending()).isEqualTo(Ending.STOPPED_EARLY);
            assertThat(outcome.steps()).isEqualTo(2 * losses.size()).isLessThan(400);
            assertThat(losses.size()).isEqualTo(lowest(losses) + 1 + 3);
            assertThat(outcome.best().orElseThrow().step()).isEqualTo(outcome.steps() - 6);
            assertThat(outcome.validationLoss()).hasValue(losses.getLast());
        }
    }

    @Test
    void a_cancelled_run_leaves_its_best_if_that_was_kept_and_nothing_otherwise() {
        try (Arena arena = Arena.ofConfined()) {
            List<Double> losses = new ArrayList<>();
            TuningOutcome outcome = run(rash().keepBest(true).build(), losses, cancelAfter(losses, 3), arena);
            assertThat(outcome.ending()).isEqualTo(Ending.CANCELLED);
            assertThat(outcome.steps()).isEqualTo(6);
            int best = outcome.best().orElseThrow().step();
            TuningOutcome untilThere = run(rash().maxSteps(best).build(), new ArrayList<>(), ALWAYS, arena);
            assertThat(bits(outcome)).containsExactlyElementsOf(bits(untilThere));

            List<Double> again = new ArrayList<>();
            assertThatThrownBy(() -> run(rash().build(), again, cancelAfter(again, 3), arena)).isInstanceOf(Problem.class)
                    .hasMessage("the tuning run was cancelled before step 7 of 30; it leaves no result");
            assertThatThrownBy(() -> run(rash().keepBest(true).build(), new ArrayList<>(), () -> TuningControl.Wish.CANCEL, arena))
                    .isInstanceOf(Problem.class)
                    .hasMessage("the tuning run was cancelled while validating after step 0; it leaves no result");
        }
    }

    private static TuningControl cancelAfter(List<Double> losses, int evaluations) {
        return () -> losses.size() >= evaluations ? TuningControl.Wish.CANCEL : TuningControl.Wish.GO_ON;
    }

    @Test
    void what_watches_validation_is_refused_without_it() {
        TuningParameters.Builder blind = TuningParameters.of(RandomBlocks.of(0.1));
        refused("early_stop_patience is 3, but evaluate_every is not given; say after how many steps to validate",
                () -> blind.earlyStop(new EarlyStop(3, 0)).build());
        refused("keep_best is true, but evaluate_every is not given; say after how many steps to validate",
                () -> TuningParameters.of(RandomBlocks.of(0.1)).keepBest(true).build());
        refused("early_stop_patience is 0; it must be 1 to 1000000", () -> new EarlyStop(0, 0));
        refused("early_stop_min_delta is -0.1; it must be 0.0 to 1000000.0", () -> new EarlyStop(1, -0.1));
        refused("checkpoint_every is 0; it must be 1 to 100000000", () -> rash().checkpointEvery(0).build());
        try (Arena arena = Arena.ofConfined()) {
            refused("keep_best is true, but there is nothing to validate with; give a validation_file", () -> new TuningRun(model)
                    .run(training(), List.of(), rash().keepBest(true).build(), TuningListener.NONE, () -> false, arena));
        }
    }

    private static void refused(String message, Supplier<Object> attempt) {
        assertThatThrownBy(attempt::get).hasMessage(message).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_HYPERPARAMETERS));
    }
}
