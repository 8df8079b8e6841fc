package io.inlay.delta;

import java.util.Comparator;

/** The place of a block in its matrix, counted in blocks from 0; ordered by row, then column. */
public record BlockCoordinate(int row, int column) implements Comparable<BlockCoordinate> {

    private static final Comparator<BlockCoordinate> ORDER = Comparator.comparingInt(BlockCoordinate::row)
            .thenComparingInt(BlockCoordinate::column);

    public BlockCoordinate {
        if (row < 0 || column < 0) {
            throw new IllegalArgumentException("block (" + row + ", " + column + ") is negative; coordinates count from 0");
        }
    }

    @Override
    public int compareTo(BlockCoordinate other) {
        return ORDER.compare(this, other);
    }

    @Override
    public String toString() {
        return "(" + row + ", " + column + ")";
    }
}
