package io.inlay.kernels;

import java.util.stream.IntStream;

/** Spreads a Java kernel's items over cores, by the JVM's common fork-join pool. Small work stays on the calling thread. */
record Cores(int threads) {

    private static final long WORTH_SHARING = 1 << 16;
    private static final int PIECES_PER_THREAD = 4;

    /** Items [begin, end). What a body computes must not depend on how items are cut. */
    @FunctionalInterface
    interface Body {
        void run(int begin, int end);
    }

    /** @param elements how many elements all items together touch */
    void forEach(int items, long elements, Body body) {
        int pieces = (int) Math.min(items, Math.min((long) PIECES_PER_THREAD * threads, elements / WORTH_SHARING));
        if (threads <= 1 || pieces <= 1) {
            if (items > 0) {
                body.run(0, items);
            }
            return;
        }
        IntStream.range(0, pieces).parallel()
                .forEach(piece -> body.run((int) ((long) items * piece / pieces), (int) ((long) items * (piece + 1) / pieces)));
    }
}
