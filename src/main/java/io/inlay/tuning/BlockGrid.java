package io.inlay.tuning;

import io.inlay.delta.BlockCoordinate;
import io.inlay.model.Projection;
import java.util.List;

/**
 * All blocks that may be chosen, numbered from 0: matrix after matrix in the order given (layer by layer, projection by projection),
 * within a matrix row by row. This number is the order that breaks ties.
 */
public final class BlockGrid {

    /** One target matrix, [rows, columns]. */
    public record Matrix(String tensor, int layer, Projection projection, int rows, int columns) {
    }

    private final int edge;
    private final List<Matrix> matrices;
    private final int[] starts;

    public BlockGrid(int edge, List<Matrix> matrices) {
        this.edge = edge;
        this.matrices = List.copyOf(matrices);
        this.starts = new int[matrices.size() + 1];
        for (int m = 0; m < starts.length - 1; m++) {
            Matrix matrix = matrices.get(m);
            if (edge <= 0 || matrix.rows() % edge != 0 || matrix.columns() % edge != 0) {
                throw Hyperparameter.refused("block_edge", edge, "it does not divide " + matrix.tensor() + " of " + matrix.rows() + " x "
                        + matrix.columns() + "; choose an edge that divides both sides of every target");
            }
            starts[m + 1] = Math.addExact(starts[m], Math.multiplyExact(matrix.rows() / edge, matrix.columns() / edge));
        }
    }

    public int edge() {
        return edge;
    }

    public List<Matrix> matrices() {
        return matrices;
    }

    /** Blocks of all matrices. */
    public int size() {
        return starts[matrices.size()];
    }

    /** The number of a matrix's first block; of the matrix after the last, {@link #size}. */
    public int start(int matrix) {
        return starts[matrix];
    }

    /** Blocks of one matrix. */
    public int blocks(int matrix) {
        return starts[matrix + 1] - starts[matrix];
    }

    /** Where a block of a matrix lies, {@code block} being its number in the grid. */
    public BlockCoordinate coordinate(int matrix, int block) {
        int across = matrices.get(matrix).columns() / edge;
        int within = block - starts[matrix];
        return new BlockCoordinate(within / across, within % across);
    }
}
