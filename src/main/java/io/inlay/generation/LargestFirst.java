package io.inlay.generation;

/** Hands out the indices of values, the largest value first, the lowest index first on ties: a binary heap, filled in linear time. */
final class LargestFirst {

    /** The value in sortable form above, the index's complement below. */
    private long[] heap = new long[0];
    private int size;

    /** Begins anew with these values, none of them NaN. */
    void fill(float[] values) {
        size = values.length;
        if (heap.length < size) {
            heap = new long[size];
        }
        for (int i = 0; i < size; i++) {
            heap[i] = (long) sortable(values[i]) << 32 | ~i & 0xFFFFFFFFL;
        }
        for (int i = size / 2 - 1; i >= 0; i--) {
            sink(i);
        }
    }

    /** An int that orders like the float; both zeros are one. */
    private static int sortable(float value) {
        int bits = Float.floatToRawIntBits(value + 0f);
        return bits ^ bits >> 31 & 0x7FFFFFFF;
    }

    boolean isEmpty() {
        return size == 0;
    }

    int next() {
        int index = ~(int) heap[0];
        heap[0] = heap[--size];
        sink(0);
        return index;
    }

    private void sink(int from) {
        long moving = heap[from];
        int at = from;
        for (int child = 2 * at + 1; child < size; child = 2 * at + 1) {
            if (child + 1 < size && heap[child + 1] > heap[child]) {
                child++;
            }
            if (heap[child] <= moving) {
                break;
            }
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = moving;
    }
}
