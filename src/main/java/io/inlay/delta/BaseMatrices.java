package io.inlay.delta;

import java.lang.foreign.MemorySegment;

/** The base model's weights as the codec sees them: read-only bf16 tensors by name. {@code model} provides it. */
public interface BaseMatrices {

    /** A matrix of bf16 bit patterns, [rows, columns] row-major, little endian. */
    record Matrix(int rows, int columns, MemorySegment bits) {
    }

    /** The named matrix, or null when the base has none of that name. */
    Matrix matrix(String tensor);

    /** The named tensor of any shape, vectors included, or null when the base has none of that name. */
    default WholeTensor whole(String tensor) {
        Matrix matrix = matrix(tensor);
        return matrix == null ? null : new WholeTensor(tensor, new long[] {matrix.rows(), matrix.columns()}, matrix.bits());
    }
}
