package io.inlay.tuning;

import io.inlay.model.Projection;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Set;

/** How a model is tuned: Sparse Matrix Tuning, or one of the baselines that it is measured against. */
public sealed interface TuningMethod {

    /** The method's name in requests: {@code smt}. */
    String wire();

    /** Methods that train blocks and leave a delta. */
    sealed interface OfBlocks extends TuningMethod {

        /** Share of ALL parameters of the model (embeddings included) to train. */
        double budget();

        /** l of the l x l blocks; empty for {@link TuningPlan}'s choice. */
        OptionalInt blockEdge();

        /** The linears whose blocks may be chosen. */
        Set<Projection> targets();
    }

    /** How a block's warm-up gradients make its score; g is a step's gradient of the mean loss. */
    enum Score {
        /** {@code mean |sum g|}: the paper's. Needs an fp32 sum of every target matrix during warm-up. */
        MEAN_ABS_SUM,
        /** {@code |mean sum g|}: what the paper's released code computes. Needs one number per block. */
        ABS_MEAN_SUM,
        /** {@code sum of mean |g|}: signs of different steps do not cancel. Needs one number per block. */
        MEAN_ABS_PER_STEP
    }

    /** How scores become a selection. */
    sealed interface Strategy {

        /** The best blocks of all target matrices together, within the budget. */
        record Global() implements Strategy {
        }

        /** The best {@code blocks} of each target matrix; the budget is not read. */
        record PerMatrix(int blocks) implements Strategy {

            public PerMatrix {
                Hyperparameter.within("blocks_per_matrix", blocks, 1, Integer.MAX_VALUE);
            }
        }

        /**
         * Two rankings, each global for itself: of attention's blocks (q, k, v, o) and of the MLP's (gate, up, down), with a share of the
         * budget each (the paper's Table 4).
         *
         * @param attention share of the blocks that attention's linears get; the MLP's get the others
         */
        record Pools(double attention) implements Strategy {

            private static final double ROUNDING = 1e-6;

            public Pools {
                Hyperparameter.within("attention_share", attention, 0, 1);
            }

            /** Of both shares, which must add up to the whole. */
            public static Pools of(double attentionShare, double mlpShare) {
                Hyperparameter.within("attention_share", attentionShare, 0, 1);
                Hyperparameter.within("mlp_share", mlpShare, 0, 1);
                if (Math.abs(attentionShare + mlpShare - 1) > ROUNDING) {
                    throw Hyperparameter.refused("attention_share and mlp_share are " + attentionShare + " and " + mlpShare
                            + "; they must add up to 1");
                }
                return new Pools(attentionShare);
            }

            /** Of the MLP's share. */
            public static Pools ofMlp(double mlpShare) {
                Hyperparameter.within("mlp_share", mlpShare, 0, 1);
                return new Pools(1 - mlpShare);
            }

            /** Whether a linear's blocks compete in attention's pool. */
            public static boolean ofAttention(Projection projection) {
                return switch (projection) {
                    case Q, K, V, O -> true;
                    case GATE, UP, DOWN -> false;
                };
            }

            /** Of {@code blocks} in all, those that attention's pool gets: its share, rounded to the nearest. */
            public int attentionBlocks(int blocks) {
                return (int) Math.round(attention * blocks);
            }
        }
    }

    /**
     * Sparse Matrix Tuning (DESIGN.md section 5).
     *
     * @param warmUpSteps steps that only score blocks before any weight moves. They read the first batches of the first epoch, and never
     *        more than one epoch of them.
     * @param warmUpMemory where sums of gradients live meanwhile
     */
    record Smt(double budget, OptionalInt blockEdge, Set<Projection> targets, int warmUpSteps, Score score, Strategy strategy,
            WarmUpMemory warmUpMemory) implements OfBlocks {

        /** With warm-up sums wherever there is room. */
        public Smt(double budget, OptionalInt blockEdge, Set<Projection> targets, int warmUpSteps, Score score, Strategy strategy) {
            this(budget, blockEdge, targets, warmUpSteps, score, strategy, WarmUpMemory.AUTO);
        }

        public Smt {
            targets = checked(budget, blockEdge, targets);
            Hyperparameter.within("warm_up_steps", warmUpSteps, 1, 100_000);
            Hyperparameter.present("score", score);
            Hyperparameter.present("strategy", strategy);
            if (Hyperparameter.present("warm_up_memory", warmUpMemory) == WarmUpMemory.STREAM && score == Score.MEAN_ABS_SUM) {
                throw Hyperparameter.refused("warm_up_memory is stream, and score mean_abs_sum sums whole gradients over all steps before "
                        + "it takes absolute values; set warm_up_memory to auto, device or host, or score to abs_mean_sum or "
                        + "mean_abs_per_step");
            }
        }

        /** The paper's choices for the given budget: blocks of q, k and v, one ranking, a hundred warm-up steps. */
        public static Smt of(double budget) {
            return new Smt(budget, OptionalInt.empty(), ATTENTION, 100, Score.MEAN_ABS_SUM, new Strategy.Global());
        }

        @Override
        public String wire() {
            return "smt";
        }
    }

    /** The honest baseline of a selection: as many blocks, drawn by the seed. */
    record RandomBlocks(double budget, OptionalInt blockEdge, Set<Projection> targets) implements OfBlocks {

        public RandomBlocks {
            targets = checked(budget, blockEdge, targets);
        }

        public static RandomBlocks of(double budget) {
            return new RandomBlocks(budget, OptionalInt.empty(), ATTENTION);
        }

        @Override
        public String wire() {
            return "random_blocks";
        }
    }

    /**
     * LoRA and DoRA as PEFT has them. The adapters are merged into their linears when the run ends.
     *
     * @param alpha the product B A counts alpha / rank times
     * @param dropout share of an adapter's inputs that is dropped in training
     * @param targets the linears that get one
     */
    record LowRank(Kind kind, int rank, double alpha, double dropout, Set<Projection> targets) implements TuningMethod {

        /** Whether a linear's rows get a trained length of their own. */
        public enum Kind {
            LORA,
            DORA
        }

        /** What both papers fine-tune LLaMA with. */
        public static final Set<Projection> DEFAULT_TARGETS = Collections.unmodifiableSet(
                EnumSet.of(Projection.Q, Projection.K, Projection.V, Projection.UP, Projection.DOWN));

        private static final double LARGEST_DROPOUT = 0.95;

        public LowRank {
            Hyperparameter.present("method", kind);
            Hyperparameter.within("rank", rank, 1, 65_536);
            Hyperparameter.above("alpha", alpha, 0, 1e6);
            Hyperparameter.within("dropout", dropout, 0, LARGEST_DROPOUT);
            targets = checked(targets);
        }

        /** The settings of DESIGN.md section 5. */
        public static LowRank of(Kind kind) {
            return new LowRank(kind, 32, 64, 0.05, DEFAULT_TARGETS);
        }

        @Override
        public String wire() {
            return kind.name().toLowerCase(Locale.ROOT);
        }
    }

    /** Every parameter moves; all of them are the result. */
    record FullFineTuning() implements TuningMethod {

        @Override
        public String wire() {
            return "full";
        }
    }

    /** The paper's targets: q, k and v of every layer. */
    Set<Projection> ATTENTION = Collections.unmodifiableSet(EnumSet.of(Projection.Q, Projection.K, Projection.V));

    private static Set<Projection> checked(double budget, OptionalInt blockEdge, Set<Projection> targets) {
        Hyperparameter.above("budget", budget, 0, 1);
        if (Hyperparameter.present("block_edge", blockEdge).isPresent()) {
            Hyperparameter.within("block_edge", blockEdge.getAsInt(), 1, 65_536);
        }
        return checked(targets);
    }

    private static Set<Projection> checked(Set<Projection> targets) {
        if (Hyperparameter.present("targets", targets).isEmpty()) {
            throw Hyperparameter.refused("targets", "empty", "name at least one of q, k, v, o, gate, up, down");
        }
        return Collections.unmodifiableSet(EnumSet.copyOf(targets));
    }
}
