package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.LlamaConfig;
import io.inlay.model.Projection;
import io.inlay.tuning.TuningMethod.FullFineTuning;
import io.inlay.tuning.TuningMethod.LowRank;
import io.inlay.tuning.TuningMethod.RandomBlocks;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TuningPlanTest {

    @TempDir
    private Path folder;

    @Test
    void llama_7b_at_the_papers_share_has_863_blocks_of_edge_256() throws IOException {
        TuningPlan plan = TuningPlan.of(llama7b(), parameters(Smt.of(0.0084)), 1000);
        TuningPlan.Blocks blocks = plan.blocks().orElseThrow();
        assertThat(plan.modelParameters()).isEqualTo(6_738_415_616L);
        assertThat(blocks.grid().edge()).isEqualTo(256);
        assertThat(blocks.count()).isEqualTo(863);
        assertThat(blocks.grid().size()).isEqualTo(32 * 3 * 256);
        assertThat(plan.trainedParameters()).isEqualTo(863L * 65_536);
        assertThat(plan.share()).isBetween(0.0083, 0.0084);
    }

    @Test
    void targets_are_listed_layer_by_layer_in_the_order_of_the_projections() throws IOException {
        Smt smt = new Smt(0.01, OptionalInt.of(16), EnumSet.of(Projection.DOWN, Projection.K), 5, Score.MEAN_ABS_SUM,
                new Strategy.Global());
        BlockGrid grid = TuningPlan.of(small(), parameters(smt), 10).blocks().orElseThrow().grid();
        assertThat(grid.matrices()).containsExactly(
                new BlockGrid.Matrix("model.layers.0.self_attn.k_proj.weight", 0, Projection.K, 64, 128),
                new BlockGrid.Matrix("model.layers.0.mlp.down_proj.weight", 0, Projection.DOWN, 128, 320),
                new BlockGrid.Matrix("model.layers.1.self_attn.k_proj.weight", 1, Projection.K, 64, 128),
                new BlockGrid.Matrix("model.layers.1.mlp.down_proj.weight", 1, Projection.DOWN, 128, 320));
    }

    @Test
    void an_open_edge_becomes_the_largest_power_of_two_that_divides_and_leaves_64_blocks_to_choose() throws IOException {
        // 5 % of 473,728 parameters: 23 blocks of edge 32, 92 of edge 16.
        TuningPlan.Blocks blocks = TuningPlan.of(small(), parameters(Smt.of(0.05)), 10).blocks().orElseThrow();
        assertThat(blocks.grid().edge()).isEqualTo(16);
        assertThat(blocks.count()).isEqualTo(92);
        // 15 %: 69 of edge 32, of the 112 that q and up have.
        RandomBlocks more = new RandomBlocks(0.15, OptionalInt.empty(), EnumSet.of(Projection.Q, Projection.UP));
        assertThat(TuningPlan.of(small(), parameters(more), 10).blocks().orElseThrow().grid().edge()).isEqualTo(32);
        // 1 %: 18 of edge 16, too few to be enough, but no smaller edge is made.
        assertThat(TuningPlan.of(small(), parameters(Smt.of(0.01)), 10).blocks().orElseThrow().count()).isEqualTo(18);
    }

    @Test
    void steps_follow_from_epochs_unless_they_are_given() throws IOException {
        TuningParameters parameters = TuningParameters.of(Smt.of(0.05)).batchSize(4).epochs(3).build();
        TuningPlan plan = TuningPlan.of(small(), parameters, 10);
        assertThat(plan.stepsPerEpoch()).isEqualTo(3);
        assertThat(plan.steps()).isEqualTo(9);
        assertThat(TuningPlan.of(small(), parameters.toBuilder().maxSteps(5).build(), 10).steps()).isEqualTo(5);
    }

    @Test
    void the_warm_up_reads_at_most_one_epoch() throws IOException {
        TuningParameters parameters = TuningParameters.of(Smt.of(0.05)).batchSize(4).build();
        assertThat(TuningPlan.of(small(), parameters, 10).warmUpSteps()).isEqualTo(3);
        assertThat(TuningPlan.of(small(), parameters, 4000).warmUpSteps()).isEqualTo(100);
        assertThat(TuningPlan.of(small(), parameters.toBuilder().method(RandomBlocks.of(0.05)).build(), 10).warmUpSteps()).isZero();
    }

    @Test
    void full_fine_tuning_trains_everything_and_has_no_blocks() throws IOException {
        TuningPlan plan = TuningPlan.of(small(), parameters(new FullFineTuning()), 10);
        assertThat(plan.blocks()).isEmpty();
        assertThat(plan.trainedParameters()).isEqualTo(plan.modelParameters()).isEqualTo(473_728);
        assertThat(plan.share()).isEqualTo(1);
    }

    @Test
    void adapters_are_counted_as_peft_counts_them() throws IOException {
        // What PEFT prints for LLaMA-7B with rank 32 on q, k, v, up and down; DoRA adds a magnitude for each of their outputs.
        TuningPlan lora = TuningPlan.of(llama7b(), parameters(LowRank.of(LowRank.Kind.LORA)), 1000);
        assertThat(lora.trainedParameters()).isEqualTo(56_098_816);
        assertThat(lora.blocks()).isEmpty();
        assertThat(lora.warmUpSteps()).isZero();
        assertThat(TuningPlan.of(llama7b(), parameters(LowRank.of(LowRank.Kind.DORA)), 1000).trainedParameters())
                .isEqualTo(56_098_816 + 32 * (3 * 4096 + 11_008 + 4096));
    }

    @Test
    void a_budget_in_which_no_block_fits_is_refused_with_the_numbers() throws IOException {
        refused(small(), smt(0.0001, OptionalInt.of(16), TuningMethod.ATTENTION), "budget is 0.0001, which is 47 of the model's 473,728 "
                + "parameters, and no block of edge 16 (256 values) fits; raise it to at least 0.000541 or set a smaller block_edge");
        assertThat(TuningPlan.of(small(), parameters(smt(0.000541, OptionalInt.of(16), TuningMethod.ATTENTION)), 10).blocks().orElseThrow()
                .count()).isEqualTo(1);
    }

    @Test
    void a_budget_over_all_blocks_of_the_targets_is_refused_with_the_numbers() throws IOException {
        refused(small(), smt(0.5, OptionalInt.of(16), Set.of(Projection.K)), "budget is 0.5, which buys 925 blocks of edge 16, but the "
                + "targets k have 64 in all; lower it to at most 0.0345 or name more targets");
        assertThat(TuningPlan.of(small(), parameters(smt(0.0345, OptionalInt.of(16), Set.of(Projection.K))), 10).blocks().orElseThrow()
                .count()).isEqualTo(63);
    }

    @Test
    void an_edge_that_does_not_divide_a_target_is_refused_by_name() throws IOException {
        refused(small(), smt(0.05, OptionalInt.of(24), TuningMethod.ATTENTION), "block_edge is 24; it does not divide "
                + "model.layers.0.self_attn.q_proj.weight of 128 x 128; choose an edge that divides both sides of every target");
        refused(small(), smt(0.5, OptionalInt.of(128), EnumSet.of(Projection.Q, Projection.UP)), "block_edge is 128; it does not divide "
                + "model.layers.0.mlp.up_proj.weight of 320 x 128; choose an edge that divides both sides of every target");
    }

    @Test
    void a_model_whose_dimensions_no_usual_edge_divides_asks_for_one() throws IOException {
        LlamaConfig odd = config(120, 328, 2, 4, 2, 30, 1000);
        refused(odd, smt(0.05, OptionalInt.empty(), TuningMethod.ATTENTION), "no power of two from 16 to 256 divides every target, "
                + "model.layers.0.self_attn.q_proj.weight being 120 x 120; set block_edge to one that does");
    }

    @Test
    void more_blocks_per_matrix_than_it_has_are_refused() throws IOException {
        Smt smt = new Smt(0.05, OptionalInt.of(32), TuningMethod.ATTENTION, 5, Score.MEAN_ABS_SUM, new Strategy.PerMatrix(9));
        refused(small(), smt, "blocks_per_matrix is 9; model.layers.0.self_attn.k_proj.weight has 8 blocks of edge 32, so it must be "
                + "1 to 8");
        Smt fits = new Smt(0.05, OptionalInt.of(32), TuningMethod.ATTENTION, 5, Score.MEAN_ABS_SUM, new Strategy.PerMatrix(8));
        assertThat(TuningPlan.of(small(), parameters(fits), 10).blocks().orElseThrow().count()).isEqualTo(48);
    }

    @Test
    void pools_get_their_shares_of_the_budgets_blocks() throws IOException {
        Strategy.Pools pools = Strategy.Pools.of(0.25, 0.75);
        int count = TuningPlan.of(small(), parameters(pools(0.05, pools, EnumSet.allOf(Projection.class))),
                10).blocks().orElseThrow().count();
        assertThat(count).isEqualTo(92);
        assertThat(pools.attentionBlocks(count)).isEqualTo(23);
        assertThat(new Strategy.Pools(0.5).attentionBlocks(863)).isEqualTo(432);
        assertThat(Strategy.Pools.ofMlp(1).attentionBlocks(863)).isZero();
    }

    @Test
    void a_pool_whose_share_buys_more_blocks_than_its_targets_have_is_refused_with_the_numbers() throws IOException {
        refused(small(), pools(0.05, new Strategy.Pools(1), EnumSet.of(Projection.K, Projection.UP)), "attention_share buys 92 blocks of "
                + "edge 16, but the targets among q, k, v or o have 64 in all; lower it or the budget, or name more of them in targets");
        refused(small(), pools(0.05, new Strategy.Pools(0.5), TuningMethod.ATTENTION),
                "mlp_share buys 46 blocks of edge 16, but the targets "
                + "among gate, up or down have 0 in all; lower it or the budget, or name more of them in targets");
    }

    private static Smt pools(double budget, Strategy.Pools pools, Set<Projection> targets) {
        return new Smt(budget, OptionalInt.of(16), targets, 5, Score.MEAN_ABS_SUM, pools);
    }

    @Test
    void no_examples_are_refused() throws IOException {
        LlamaConfig config = small();
        assertThatThrownBy(() -> TuningPlan.of(config, parameters(Smt.of(0.05)), 0)).isInstanceOf(Problem.class)
                .hasMessage("there is no training example; give at least one");
    }

    private static Smt smt(double budget, OptionalInt edge, Set<Projection> targets) {
        return new Smt(budget, edge, targets, 5, Score.MEAN_ABS_SUM, new Strategy.Global());
    }

    private static TuningParameters parameters(TuningMethod method) {
        return TuningParameters.of(method).build();
    }

    private static void refused(LlamaConfig config, TuningMethod method, String message) {
        assertThatThrownBy(() -> TuningPlan.of(config, parameters(method), 10)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_HYPERPARAMETERS)).hasMessage(message);
    }

    private LlamaConfig llama7b() throws IOException {
        return config(4096, 11_008, 32, 32, 32, 128, 32_000);
    }

    /** 473,728 parameters; q 128 x 128, k and v 64 x 128, up 320 x 128. */
    private LlamaConfig small() throws IOException {
        return config(128, 320, 2, 4, 2, 32, 504);
    }

    private LlamaConfig config(int hidden, int intermediate, int layers, int heads, int keyValueHeads, int headDim, int vocabulary)
            throws IOException {
        Files.writeString(folder.resolve("config.json"), """
                {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": %d, "intermediate_size": %d,
                 "num_hidden_layers": %d, "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": %d, "vocab_size": %d,
                 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 2048, "tie_word_embeddings": false,
                 "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
                """.formatted(hidden, intermediate, layers, heads, keyValueHeads, headDim, vocabulary));
        return LlamaConfig.parse(folder);
    }
}
