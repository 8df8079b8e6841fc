package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * Where each block of one linear's weight lives: for block (i, j) the address of a contiguous [edge, edge] square of the weight's type,
 * or 0 for the base. Immutable; the blocks' memory belongs to the maker and must outlive the table.
 */
public final class TileTable {

    private final int rows;
    private final int columns;
    private final int edge;
    private final int elementBytes;
    private final MemorySegment pointers;

    private TileTable(int rows, int columns, int edge, int elementBytes, MemorySegment pointers) {
        this.rows = rows;
        this.columns = columns;
        this.edge = edge;
        this.elementBytes = elementBytes;
        this.pointers = pointers;
    }

    /**
     * A table for a weight of {@code rows} x {@code columns}: block k of {@code values} ([n, edge, edge], {@code elementBytes} each)
     * stands at {@code coordinates.get(k)}. The table's own memory comes from {@code arena}.
     */
    public static TileTable of(Arena arena, int rows, int columns, int edge, List<BlockCoordinate> coordinates, MemorySegment values,
            int elementBytes) {
        return of(arena, rows, columns, edge, coordinates, values.address(), values.byteSize(), elementBytes);
    }

    /** As above, with blocks on any device: {@code values} [n, edge, edge], contiguous, of the weight's type. */
    public static TileTable of(Arena arena, int rows, int columns, int edge, List<BlockCoordinate> coordinates, Tensor values) {
        if (!values.contiguous()) {
            throw new IllegalArgumentException("blocks of a tile table must be contiguous, not " + values);
        }
        return of(arena, rows, columns, edge, coordinates, values.address(), values.bytes(), values.dtype().bytes());
    }

    private static TileTable of(Arena arena, int rows, int columns, int edge, List<BlockCoordinate> coordinates, long address, long bytes,
            int elementBytes) {
        if (edge <= 0 || rows % edge != 0 || columns % edge != 0) {
            throw new IllegalArgumentException("blocks of edge " + edge + " do not tile a weight of " + rows + " x " + columns);
        }
        long square = (long) edge * edge * elementBytes;
        if (bytes != square * coordinates.size()) {
            throw new IllegalArgumentException(coordinates.size() + " blocks of edge " + edge + " need " + square * coordinates.size()
                    + " bytes, not " + bytes);
        }
        int across = columns / edge;
        MemorySegment pointers = arena.allocate(8L * (rows / edge) * across, 64);
        for (int k = 0; k < coordinates.size(); k++) {
            BlockCoordinate at = coordinates.get(k);
            if (at.row() >= rows / edge || at.column() >= across) {
                throw new IllegalArgumentException("block " + at + " lies outside a weight of " + rows + " x " + columns + ", edge " + edge);
            }
            long index = (long) at.row() * across + at.column();
            if (pointers.getAtIndex(ValueLayout.JAVA_LONG, index) != 0) {
                throw new IllegalArgumentException("block " + at + " is given twice");
            }
            pointers.setAtIndex(ValueLayout.JAVA_LONG, index, address + k * square);
        }
        return new TileTable(rows, columns, edge, elementBytes, pointers);
    }

    public int rows() {
        return rows;
    }

    public int columns() {
        return columns;
    }

    public int edge() {
        return edge;
    }

    /** Bytes of one element, which the weight's type must have. */
    public int elementBytes() {
        return elementBytes;
    }

    /** Addresses [rows / edge, columns / edge] in the memory of the blocks' device, as native longs of the host; 0 means the base. */
    public MemorySegment pointers() {
        return pointers;
    }

    /** The address of block (row, column), or 0 for the base. */
    public long pointer(int row, int column) {
        return pointers.getAtIndex(ValueLayout.JAVA_LONG, (long) row * (columns / edge) + column);
    }
}
