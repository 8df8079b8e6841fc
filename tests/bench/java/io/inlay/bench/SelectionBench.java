package io.inlay.bench;

import io.inlay.model.Projection;
import io.inlay.tuning.BlockGrid;
import io.inlay.tuning.BlockSelection;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;

/**
 * How long choosing takes on LLaMA-7B's grid: 863 of 102,816 blocks of edge 256 by synthetic scores, from scores to coordinates. Needs no
 * weights and no libtorch.
 */
final class SelectionBench {

    private static final int CANDIDATES = 102_816;
    private static final int CHOSEN = 863;
    private static final int WARM_UP = 20;
    private static final int ROUNDS = 51;

    private SelectionBench() {
    }

    public static void main(String[] arguments) {
        measure();
    }

    /** Prints the distribution of times, and the bar. */
    static void measure() {
        BlockGrid grid = grid();
        SplittableRandom random = new SplittableRandom(1);
        float[] scores = new float[grid.size()];
        List<Double> milliseconds = new ArrayList<>();
        for (int round = -WARM_UP; round < ROUNDS; round++) {
            // Other scores every time: a sort of what is sorted already would be quicker.
            for (int i = 0; i < scores.length; i++) {
                scores[i] = (float) Math.exp(random.nextGaussian());
            }
            long start = System.nanoTime();
            int chosen = BlockSelection.global(grid, scores, CHOSEN).byTensor().values().stream().mapToInt(List::size).sum();
            double took = (System.nanoTime() - start) / 1e6;
            if (chosen != CHOSEN) {
                throw new IllegalStateException(chosen + " blocks were chosen, not " + CHOSEN);
            }
            if (round >= 0) {
                milliseconds.add(took);
            }
        }
        System.out.printf(Locale.ROOT, "selection of %,d of %,d blocks: median of %d, %s ms%n", CHOSEN, CANDIDATES, ROUNDS,
                Figures.spread(milliseconds));
        Figures.atMost("tuning.selection-ms", Figures.median(milliseconds), 50);
    }

    /** As many blocks as all parameters of LLaMA-7B make: square matrices of 4096, a layer each, and a last one of what is left. */
    private static BlockGrid grid() {
        List<BlockGrid.Matrix> matrices = new ArrayList<>();
        int blocks = 0;
        for (int m = 0; CANDIDATES - blocks >= 256; m++, blocks += 256) {
            matrices.add(new BlockGrid.Matrix("matrix." + m, m, Projection.Q, 4096, 4096));
        }
        if (blocks < CANDIDATES) {
            matrices.add(new BlockGrid.Matrix("matrix.rest", matrices.size(), Projection.K, 256, 256 * (CANDIDATES - blocks)));
        }
        return new BlockGrid(256, matrices);
    }
}
