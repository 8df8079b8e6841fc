package io.inlay.delta;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The trained blocks of one weight matrix.
 *
 * @param tensor the matrix's name in the checkpoint, {@code model.layers.0.self_attn.q_proj.weight}
 * @param rows the matrix's rows (output features)
 * @param columns the matrix's columns (input features)
 * @param edge l of the l x l blocks; divides rows and columns
 * @param coordinates distinct, in ascending order
 * @param values [n, edge, edge] bf16 bit patterns, row-major, native byte order (little endian), in the order of the coordinates; the
 *        memory's owner decides how long they live
 */
public record TensorBlocks(String tensor, int rows, int columns, int edge, List<BlockCoordinate> coordinates, MemorySegment values) {

    public TensorBlocks {
        coordinates = List.copyOf(coordinates);
        if (edge <= 0 || rows <= 0 || columns <= 0 || rows % edge != 0 || columns % edge != 0) {
            throw new IllegalArgumentException("blocks of edge " + edge + " do not tile " + tensor + " of " + rows + " x " + columns);
        }
        BlockCoordinate previous = null;
        for (BlockCoordinate at : coordinates) {
            if (previous != null && previous.compareTo(at) >= 0) {
                throw new IllegalArgumentException("blocks of " + tensor + " are not in ascending order at " + at);
            }
            if (at.row() >= rows / edge || at.column() >= columns / edge) {
                throw new IllegalArgumentException("block " + at + " lies outside " + tensor + " of " + rows + " x " + columns);
            }
            previous = at;
        }
        if (values.byteSize() != 2L * edge * edge * coordinates.size()) {
            throw new IllegalArgumentException(tensor + ": " + coordinates.size() + " blocks of edge " + edge + " are not "
                    + values.byteSize() + " bytes");
        }
    }

    /** Values in all blocks. */
    public long count() {
        return (long) edge * edge * coordinates.size();
    }

    /** The k-th block's [edge, edge] values. */
    public MemorySegment block(int k) {
        long square = 2L * edge * edge;
        return values.asSlice(k * square, square);
    }
}
