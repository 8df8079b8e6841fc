package io.inlay.tuning;

import io.inlay.model.Projection;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Which blocks were chosen and how they scored: the paper's figures 4 and 5 as numbers.
 *
 * @param edge l of the blocks
 * @param blocks chosen
 * @param candidates blocks there were to choose from
 * @param trainedParameters values in the chosen blocks
 * @param share of all parameters of the model
 * @param matrices every target matrix, layer by layer
 * @param scores of all candidates; empty when the choice was random
 * @param chosenScores of the chosen alone; empty when the choice was random
 */
public record SelectionReport(int edge, int blocks, int candidates, long trainedParameters, double share, List<MatrixCount> matrices,
        Optional<Quantiles> scores, Optional<Quantiles> chosenScores) {

    /**
     * One target matrix. Scores are 0 when the choice was random.
     *
     * @param blocks chosen
     * @param candidates blocks that it has
     * @param meanScore over all of its blocks
     * @param mostScore the best of its blocks
     * @param threshold the least score among its chosen blocks; 0 when none was chosen
     */
    public record MatrixCount(int layer, Projection projection, String tensor, int blocks, int candidates, double meanScore,
            double mostScore, double threshold) {
    }

    /** Nearest-rank quantiles. */
    public record Quantiles(double least, double quarter, double median, double threeQuarters, double ninetieth, double ninetyNinth,
            double most) {

        static Quantiles of(float[] values) {
            float[] sorted = values.clone();
            Arrays.sort(sorted);
            return new Quantiles(sorted[0], rank(sorted, 0.25), rank(sorted, 0.5), rank(sorted, 0.75), rank(sorted, 0.9),
                    rank(sorted, 0.99), sorted[sorted.length - 1]);
        }

        private static double rank(float[] sorted, double share) {
            return sorted[Math.max(0, (int) Math.ceil(share * sorted.length) - 1)];
        }
    }

    public SelectionReport {
        matrices = List.copyOf(matrices);
    }

    /** Blocks chosen in a layer, all projections together. */
    public int inLayer(int layer) {
        return matrices.stream().filter(matrix -> matrix.layer() == layer).mapToInt(MatrixCount::blocks).sum();
    }

    /** Blocks chosen of a projection, all layers together. */
    public int of(Projection projection) {
        return matrices.stream().filter(matrix -> matrix.projection() == projection).mapToInt(MatrixCount::blocks).sum();
    }

    /** The score of the worst chosen block; empty when the choice was random. */
    public OptionalDouble threshold() {
        return chosenScores.map(scores -> OptionalDouble.of(scores.least())).orElse(OptionalDouble.empty());
    }

    /** How many layers there are with targets. */
    public int layers() {
        return matrices.stream().mapToInt(MatrixCount::layer).max().orElse(-1) + 1;
    }

    /** {@code scores} by number in the grid, or empty for a random choice. */
    static SelectionReport of(BlockSelection selection, Optional<float[]> scores, long parameters) {
        BlockGrid grid = selection.grid();
        int[] chosen = selection.blocks();
        List<MatrixCount> matrices = new ArrayList<>();
        int k = 0;
        for (int m = 0; m < grid.matrices().size(); m++) {
            int before = k;
            while (k < chosen.length && chosen[k] < grid.start(m + 1)) {
                k++;
            }
            BlockGrid.Matrix matrix = grid.matrices().get(m);
            matrices.add(new MatrixCount(matrix.layer(), matrix.projection(), matrix.tensor(), k - before, grid.blocks(m),
                    mean(scores, grid.start(m), grid.start(m + 1)), most(scores, grid.start(m), grid.start(m + 1)),
                    least(scores, chosen, before, k)));
        }
        long trained = (long) grid.edge() * grid.edge() * chosen.length;
        return new SelectionReport(grid.edge(), chosen.length, grid.size(), trained, (double) trained / parameters, matrices,
                scores.map(Quantiles::of), scores.map(all -> Quantiles.of(pick(all, chosen))));
    }

    private static double mean(Optional<float[]> scores, int from, int to) {
        double sum = 0;
        for (int i = from; scores.isPresent() && i < to; i++) {
            sum += scores.get()[i];
        }
        return sum / (to - from);
    }

    private static double most(Optional<float[]> scores, int from, int to) {
        double most = 0;
        for (int i = from; scores.isPresent() && i < to; i++) {
            most = Math.max(most, scores.get()[i]);
        }
        return most;
    }

    /** Of the chosen blocks [from, to). */
    private static double least(Optional<float[]> scores, int[] chosen, int from, int to) {
        double least = Double.POSITIVE_INFINITY;
        for (int k = from; scores.isPresent() && k < to; k++) {
            least = Math.min(least, scores.get()[chosen[k]]);
        }
        return Double.isInfinite(least) ? 0 : least;
    }

    private static float[] pick(float[] all, int[] chosen) {
        float[] picked = new float[chosen.length];
        for (int k = 0; k < picked.length; k++) {
            picked[k] = all[chosen[k]];
        }
        return picked;
    }
}
