package io.inlay.tuning;

import io.inlay.Problem;
import io.inlay.model.LlamaConfig;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ParameterShape;
import io.inlay.model.Projection;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * What a run will do on the model at hand: parameters resolved into steps and blocks, known before anything is spent.
 *
 * @param stepsPerEpoch batches that an epoch has
 * @param steps of training, in all
 * @param warmUpSteps that score blocks before; 0 for methods without scores
 * @param blocks what may be chosen and how much of it; empty for methods without blocks
 * @param trainedParameters values that will move
 * @param modelParameters values that the model has
 */
public record TuningPlan(TuningParameters parameters, int stepsPerEpoch, int steps, int warmUpSteps, Optional<Blocks> blocks,
        long trainedParameters, long modelParameters) {

    /** An edge is chosen so that the budget buys at least this many blocks: with fewer there is little to select. */
    private static final int ENOUGH_BLOCKS = 64;

    private static final int LARGEST_EDGE = 256;
    private static final int SMALLEST_EDGE = 16;

    /** The candidates, and how many of them will be trained. */
    public record Blocks(BlockGrid grid, int count) {
    }

    /**
     * Resolves parameters for a model. Where the block edge is left open it becomes the largest power of two from 256 down to 16 that
     * divides both sides of every target and at which the budget buys at least 64 blocks; where none buys so many, the smallest that
     * divides.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} when an edge does not divide a target, when no block fits into the budget, or when
     *         the targets have fewer blocks than the budget buys
     */
    public static TuningPlan of(LlamaConfig config, TuningParameters parameters, int examples) {
        if (examples < 1) {
            throw new Problem(Problem.Code.INVALID_TRAINING_FILE, "there is no training example; give at least one");
        }
        int stepsPerEpoch = Math.ceilDiv(examples, parameters.batchSize());
        int steps = parameters.maxSteps().orElseGet(() -> Math.multiplyExact(stepsPerEpoch, parameters.epochs()));
        long all = config.parameterCount();
        return switch (parameters.method()) {
            case TuningMethod.FullFineTuning _ -> new TuningPlan(parameters, stepsPerEpoch, steps, 0, Optional.empty(), all, all);
            case TuningMethod.LowRank method -> new TuningPlan(parameters, stepsPerEpoch, steps, 0, Optional.empty(),
                    adapterParameters(config, method), all);
            case TuningMethod.OfBlocks method -> {
                Blocks blocks = blocks(config, method);
                int warmUp = method instanceof TuningMethod.Smt smt ? Math.min(smt.warmUpSteps(), stepsPerEpoch) : 0;
                long trained = (long) blocks.grid().edge() * blocks.grid().edge() * blocks.count();
                yield new TuningPlan(parameters, stepsPerEpoch, steps, warmUp, Optional.of(blocks), trained, all);
            }
        };
    }

    /** PEFT's count: A [r, in] and B [out, r] of each target, and a magnitude per output for DoRA. */
    private static long adapterParameters(LlamaConfig config, TuningMethod.LowRank method) {
        long layer = 0;
        for (Projection target : method.targets()) {
            long[] shape = config.shape(target);
            layer += method.rank() * (shape[0] + shape[1]) + (method.kind() == TuningMethod.LowRank.Kind.DORA ? shape[0] : 0);
        }
        return layer * config.layers();
    }

    /** The same, with another way to hold activations. */
    TuningPlan with(LlamaTraining.Activations activations) {
        return new TuningPlan(parameters.toBuilder().activations(activations).build(), stepsPerEpoch, steps, warmUpSteps, blocks,
                trainedParameters, modelParameters);
    }

    /** Share of the model's parameters that will move; adapters' values are none of the model's, but are counted alike. */
    public double share() {
        return (double) trainedParameters / modelParameters;
    }

    private static Blocks blocks(LlamaConfig config, TuningMethod.OfBlocks method) {
        List<BlockGrid.Matrix> matrices = targets(config, method);
        long all = config.parameterCount();
        int edge = method.blockEdge().orElseGet(() -> chooseEdge(matrices, method.budget(), all));
        BlockGrid grid = new BlockGrid(edge, matrices);
        if (method instanceof TuningMethod.Smt smt && smt.strategy() instanceof TuningMethod.Strategy.PerMatrix each) {
            return perMatrix(grid, each.blocks());
        }
        long square = (long) edge * edge;
        long count = affordable(method.budget(), all, edge);
        if (count < 1) {
            throw Hyperparameter.refused(String.format(Locale.ROOT, "budget is %s, which is %,d of the model's %,d parameters, and no "
                    + "block of edge %d (%,d values) fits; raise it to at least %s or set a smaller block_edge", plain(method.budget()),
                    (long) (method.budget() * all), all, edge, square, rounded((double) square / all, RoundingMode.CEILING)));
        }
        if (count > grid.size()) {
            throw Hyperparameter.refused(String.format(Locale.ROOT, "budget is %s, which buys %,d blocks of edge %d, but the targets %s "
                    + "have %,d in all; lower it to at most %s or name more targets", plain(method.budget()), count, edge, names(method),
                    grid.size(), rounded((double) grid.size() * square / all, RoundingMode.FLOOR)));
        }
        if (method instanceof TuningMethod.Smt smt && smt.strategy() instanceof TuningMethod.Strategy.Pools pools) {
            requirePools(grid, pools, (int) count);
        }
        return new Blocks(grid, (int) count);
    }

    private static void requirePools(BlockGrid grid, TuningMethod.Strategy.Pools pools, int count) {
        int attention = pools.attentionBlocks(count);
        requirePool(grid, true, "attention_share", "q, k, v or o", attention);
        requirePool(grid, false, "mlp_share", "gate, up or down", count - attention);
    }

    private static void requirePool(BlockGrid grid, boolean ofAttention, String share, String linears, int wanted) {
        int there = IntStream.range(0, grid.matrices().size())
                .filter(m -> TuningMethod.Strategy.Pools.ofAttention(grid.matrices().get(m).projection()) == ofAttention)
                .map(grid::blocks).sum();
        if (wanted > there) {
            throw Hyperparameter.refused(String.format(Locale.ROOT, "%s buys %,d blocks of edge %d, but the targets among %s have %,d in "
                    + "all; lower it or the budget, or name more of them in targets", share, wanted, grid.edge(), linears, there));
        }
    }

    private static Blocks perMatrix(BlockGrid grid, int each) {
        for (int m = 0; m < grid.matrices().size(); m++) {
            if (each > grid.blocks(m)) {
                throw Hyperparameter.refused("blocks_per_matrix", each, grid.matrices().get(m).tensor() + " has " + grid.blocks(m)
                        + " blocks of edge " + grid.edge() + ", so it must be 1 to " + grid.blocks(m));
            }
        }
        return new Blocks(grid, Math.multiplyExact(each, grid.matrices().size()));
    }

    private static List<BlockGrid.Matrix> targets(LlamaConfig config, TuningMethod.OfBlocks method) {
        Map<String, long[]> shapes = new HashMap<>();
        for (ParameterShape parameter : config.parameters()) {
            shapes.put(parameter.name(), parameter.shape());
        }
        List<BlockGrid.Matrix> matrices = new ArrayList<>();
        for (int layer = 0; layer < config.layers(); layer++) {
            for (Projection projection : method.targets()) {
                long[] shape = shapes.get(projection.tensor(layer));
                matrices.add(new BlockGrid.Matrix(projection.tensor(layer), layer, projection, Math.toIntExact(shape[0]),
                        Math.toIntExact(shape[1])));
            }
        }
        return matrices;
    }

    private static int chooseEdge(List<BlockGrid.Matrix> matrices, double budget, long parameters) {
        int smallest = 0;
        for (int edge = LARGEST_EDGE; edge >= SMALLEST_EDGE; edge /= 2) {
            int candidate = edge;
            if (matrices.stream().allMatch(matrix -> matrix.rows() % candidate == 0 && matrix.columns() % candidate == 0)) {
                if (affordable(budget, parameters, edge) >= ENOUGH_BLOCKS) {
                    return edge;
                }
                smallest = edge;
            }
        }
        if (smallest == 0) {
            BlockGrid.Matrix first = matrices.getFirst();
            throw Hyperparameter.refused("no power of two from " + SMALLEST_EDGE + " to " + LARGEST_EDGE + " divides every target, "
                    + first.tensor() + " being " + first.rows() + " x " + first.columns() + "; set block_edge to one that does");
        }
        return smallest;
    }

    /** n = floor(share x params / l^2). */
    private static long affordable(double budget, long parameters, int edge) {
        return (long) Math.floor(budget * parameters / ((double) edge * edge));
    }

    private static String names(TuningMethod.OfBlocks method) {
        return String.join(", ", method.targets().stream().map(target -> target.name().toLowerCase(Locale.ROOT)).toList());
    }

    private static String plain(double share) {
        return BigDecimal.valueOf(share).stripTrailingZeros().toPlainString();
    }

    private static String rounded(double share, RoundingMode mode) {
        return new BigDecimal(share).round(new MathContext(3, mode)).toPlainString();
    }
}
