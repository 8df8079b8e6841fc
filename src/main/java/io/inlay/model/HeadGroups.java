package io.inlay.model;

import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;

/**
 * Grouped-query attention as libtorch's attention takes it, by strides alone: the group is the batch, the query heads that share one
 * key/value head are the heads, and keys and values repeat along them with stride 0. No head is ever copied.
 *
 * <p>Legend: G groups, R query heads in a group, T positions, D head dimension.
 */
record HeadGroups(int groups, int repeats, int headDim) {

    static HeadGroups of(LlamaConfig config) {
        return new HeadGroups(config.keyValueHeads(), config.heads() / config.keyValueHeads(), config.headDim());
    }

    /** Rows [start, start + length) of [N, G R D] (or [N, G R, D]) as [G, R, T, D]. */
    Tensor queries(Scope scope, Tensor rows, int start, int length) {
        long row = (long) groups * repeats * headDim;
        return rows.strided(scope, new long[] {groups, repeats, length, headDim},
                new long[] {(long) repeats * headDim, headDim, row, 1}, start * row);
    }

    /** Rows [start, start + length) of [N, G D] (or [N, G, D]) as [G, R, T, D], the same for every R. */
    Tensor shared(Scope scope, Tensor rows, int start, int length) {
        long row = (long) groups * headDim;
        return rows.strided(scope, new long[] {groups, repeats, length, headDim}, new long[] {headDim, 0, row, 1}, start * row);
    }

    /** Rows [start, start + length) of [N, G D] as [T, G, D]. */
    Tensor perGroup(Scope scope, Tensor rows, int start, int length) {
        long row = (long) groups * headDim;
        return rows.strided(scope, new long[] {length, groups, headDim}, new long[] {row, headDim, 1}, start * row);
    }
}
