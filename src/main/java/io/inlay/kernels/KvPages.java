package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where one sequence's keys and values of one layer lie: page p holds positions {@value #PAGE} p to {@value #PAGE} (p + 1) - 1 as
 * [G, {@value #PAGE}, D], keys at one offset from the page's address and values at another. A view: the memory is the pool's.
 *
 * @param addresses of the pages, in the memory of their device, as native longs of the host, in the order of positions
 * @param length positions that are filled, 1 at least
 * @param keyOffset bytes from a page's address to its keys of this layer
 * @param valueOffset bytes to its values
 * @param groups G, key/value heads
 * @param dim D
 */
public record KvPages(MemorySegment addresses, int length, long keyOffset, long valueOffset, int groups, int dim, DType type) {

    /** Positions in a page. */
    public static final int PAGE = 16;

    public KvPages {
        if (length < 1 || addresses.byteSize() < 8L * Math.ceilDiv(length, PAGE)) {
            throw new IllegalArgumentException(length + " positions do not lie in " + addresses.byteSize() / 8 + " pages of " + PAGE);
        }
    }

    /** The same up to an earlier position. */
    KvPages first(int positions) {
        return new KvPages(addresses, positions, keyOffset, valueOffset, groups, dim, type);
    }

    /** Copies a row of keys and values [N, G, D] to a position. */
    void put(Tensor keys, Tensor values, int row, int position) {
        long bytes = (long) dim * type.bytes();
        for (int g = 0; g < groups; g++) {
            long from = ((long) row * groups + g) * bytes;
            MemorySegment.copy(keys.segment(), from, row(false, g, position), 0, bytes);
            MemorySegment.copy(values.segment(), from, row(true, g, position), 0, bytes);
        }
    }

    /** The D elements of one position's key or value. */
    MemorySegment row(boolean values, int group, int position) {
        long bytes = (long) dim * type.bytes();
        long page = addresses.getAtIndex(ValueLayout.JAVA_LONG, position / PAGE);
        long at = page + (values ? valueOffset : keyOffset) + ((long) group * PAGE + position % PAGE) * bytes;
        return MemorySegment.ofAddress(at).reinterpret(bytes);
    }
}
