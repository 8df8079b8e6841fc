package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Rows of dense elements at one distance from each other, in each of several tensors of equal sizes: what an elementwise kernel works on.
 *
 * @param offsets per tensor, the elements before the plane's first
 * @param strides per tensor, the elements from a row to the next
 */
record Plane(long rows, long columns, long[] offsets, long[] strides) {

    /** The tensors, of equal sizes and dense rows, cut into as few planes as their strides allow. */
    static List<Plane> of(Tensor... tensors) {
        int count = tensors.length;
        Tensor first = tensors[0];
        if (first.elements() == 0) {
            return List.of();
        }
        boolean contiguous = true;
        for (Tensor tensor : tensors) {
            contiguous &= tensor.contiguous();
        }
        if (contiguous) {
            return List.of(new Plane(1, first.elements(), new long[count], new long[count]));
        }
        // Outer dimensions from the innermost out, merged where one continues the other in every tensor.
        List<Long> sizes = new ArrayList<>();
        List<long[]> strides = new ArrayList<>();
        for (int d = first.rank() - 2; d >= 0; d--) {
            long[] here = new long[count];
            boolean continues = !sizes.isEmpty();
            for (int t = 0; t < count; t++) {
                here[t] = tensors[t].stride(d);
                continues = continues && here[t] == sizes.getLast() * strides.getLast()[t];
            }
            if (first.size(d) == 1) {
                continue;
            }
            if (continues) {
                sizes.add(sizes.removeLast() * first.size(d));
            } else {
                sizes.add(first.size(d));
                strides.add(here);
            }
        }
        List<Plane> planes = new ArrayList<>();
        long rows = sizes.isEmpty() ? 1 : sizes.getFirst();
        long[] rowStrides = sizes.isEmpty() ? new long[count] : strides.getFirst();
        spread(planes, rows, first.size(-1), rowStrides, new long[count], sizes, strides, sizes.size() - 1);
        return planes;
    }

    private static void spread(List<Plane> planes, long rows, long columns, long[] rowStrides, long[] offsets, List<Long> sizes,
            List<long[]> strides, int dimension) {
        if (dimension <= 0) {
            planes.add(new Plane(rows, columns, offsets, rowStrides));
            return;
        }
        for (long i = 0; i < sizes.get(dimension); i++) {
            long[] moved = offsets.clone();
            for (int t = 0; t < moved.length; t++) {
                moved[t] += i * strides.get(dimension)[t];
            }
            spread(planes, rows, columns, rowStrides, moved, sizes, strides, dimension - 1);
        }
    }
}
