package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.Projection;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.util.EnumSet;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

class TuningParametersTest {

    @Test
    void the_defaults_are_the_papers() {
        TuningParameters parameters = TuningParameters.of(Smt.of(0.0084)).build();
        assertThat(parameters.epochs()).isEqualTo(3);
        assertThat(parameters.clip()).isEqualTo(1);
        assertThat(parameters.learningRate().shape()).isEqualTo(LearningRate.Shape.LINEAR);
        assertThat(parameters.adamW()).isEqualTo(new AdamWSettings(0.9, 0.95, 1e-8, 0));
        Smt smt = (Smt) parameters.method();
        assertThat(smt.targets()).containsExactly(Projection.Q, Projection.K, Projection.V);
        assertThat(smt.warmUpSteps()).isEqualTo(100);
        assertThat(smt.score()).isEqualTo(Score.MEAN_ABS_SUM);
        assertThat(smt.strategy()).isEqualTo(new Strategy.Global());
        assertThat(smt.blockEdge()).isEmpty();
    }

    @Test
    void a_builder_made_from_parameters_builds_them_again() {
        TuningParameters parameters = TuningParameters.of(RandomBlocks.of(0.01)).epochs(2).maxSteps(7).batchSize(3)
                .learningRate(LearningRate.constant(1e-3)).adamW(new AdamWSettings(0.8, 0.9, 1e-6, 0.1)).clip(0.5).microBatchTokens(64)
                .evaluateEvery(5).seed(9).earlyStop(new EarlyStop(2, 0.01)).keepBest(true).checkpointEvery(4).build();
        assertThat(parameters.toBuilder().build()).isEqualTo(parameters);
    }

    @Test
    void the_set_of_targets_is_ordered_and_cannot_change() {
        EnumSet<Projection> mine = EnumSet.of(Projection.DOWN, Projection.K);
        Smt smt = new Smt(0.1, OptionalInt.of(32), mine, 10, Score.MEAN_ABS_SUM, new Strategy.Global());
        mine.add(Projection.UP);
        assertThat(smt.targets()).containsExactly(Projection.K, Projection.DOWN);
    }

    @Test
    void every_refusal_names_the_field_the_value_and_what_is_allowed() {
        refused("budget is 0.0; it must be over 0.0 and at most 1.0", () -> Smt.of(0));
        refused("budget is NaN; it must be over 0.0 and at most 1.0", () -> RandomBlocks.of(Double.NaN));
        refused("budget is 1.5; it must be over 0.0 and at most 1.0", () -> Smt.of(1.5));
        refused("block_edge is 0; it must be 1 to 65536",
                () -> new RandomBlocks(0.1, OptionalInt.of(0), TuningMethod.ATTENTION));
        refused("targets is empty; name at least one of q, k, v, o, gate, up, down",
                () -> new RandomBlocks(0.1, OptionalInt.empty(), Set.of()));
        refused("warm_up_steps is 0; it must be 1 to 100000",
                () -> new Smt(0.1, OptionalInt.empty(), TuningMethod.ATTENTION, 0, Score.MEAN_ABS_SUM, new Strategy.Global()));
        refused("score is missing; give one",
                () -> new Smt(0.1, OptionalInt.empty(), TuningMethod.ATTENTION, 5, null, new Strategy.Global()));
        refused("warm_up_memory is stream, and score mean_abs_sum sums whole gradients over all steps before it takes absolute values; set "
                + "warm_up_memory to auto, device or host, or score to abs_mean_sum or mean_abs_per_step",
                () -> new Smt(0.1, OptionalInt.empty(), TuningMethod.ATTENTION, 5, Score.MEAN_ABS_SUM, new Strategy.Global(),
                        WarmUpMemory.STREAM));
        refused("warm_up_memory is missing; give one", () -> new Smt(0.1, OptionalInt.empty(), TuningMethod.ATTENTION, 5,
                Score.MEAN_ABS_SUM, new Strategy.Global(), null));
        refused("blocks_per_matrix is 0; it must be 1 to 2147483647", () -> new Strategy.PerMatrix(0));
        refused("attention_share is 1.5; it must be 0.0 to 1.0", () -> new Strategy.Pools(1.5));
        refused("mlp_share is -0.5; it must be 0.0 to 1.0", () -> Strategy.Pools.ofMlp(-0.5));
        refused("mlp_share is NaN; it must be 0.0 to 1.0", () -> Strategy.Pools.of(0.5, Double.NaN));
        refused("attention_share and mlp_share are 0.5 and 0.6; they must add up to 1", () -> Strategy.Pools.of(0.5, 0.6));
        refused("method is missing; give one", () -> TuningParameters.of(null).build());
        refused("epochs is 0; it must be 1 to 10000", () -> smt().epochs(0).build());
        refused("max_steps is -3; it must be 1 to 100000000", () -> smt().maxSteps(-3).build());
        refused("batch_size is 0; it must be 1 to 65536", () -> smt().batchSize(0).build());
        refused("clip is 0.0; it must be over 0.0 and at most 1.7976931348623157E308", () -> smt().clip(0).build());
        refused("micro_batch_tokens is 0; it must be 1 to 100000000", () -> smt().microBatchTokens(0).build());
        refused("evaluate_every is 0; it must be 1 to 100000000", () -> smt().evaluateEvery(0).build());
        refused("beta1 is 1.0; it must be 0.0 to 0.999999", () -> new AdamWSettings(1, 0.95, 1e-8, 0));
        refused("beta2 is -0.1; it must be 0.0 to 0.999999", () -> new AdamWSettings(0.9, -0.1, 1e-8, 0));
        refused("epsilon is 0.0; it must be over 0.0 and at most 1.0", () -> new AdamWSettings(0.9, 0.95, 0, 0));
        refused("weight_decay is -1.0; it must be 0.0 to 1.0", () -> new AdamWSettings(0.9, 0.95, 1e-8, -1));
    }

    private static TuningParameters.Builder smt() {
        return TuningParameters.of(Smt.of(0.01));
    }

    private static void refused(String message, Supplier<?> made) {
        assertThatThrownBy(made::get).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_HYPERPARAMETERS)).hasMessage(message);
    }
}
