package io.inlay.delta;

import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Work on all cores that has ended when the call returns, however it ended. A parallel stream alone does not give that: when one of its
 * tasks throws, its caller goes on while others still run, and frees the memory and the zstd contexts that they use.
 */
public final class InParallel {

    private InParallel() {
    }

    /** Does the pieces 0 to n - 1, then throws what the first of them threw, in their order. */
    public static void forEach(int n, IntConsumer piece) {
        Throwable[] thrown = new Throwable[n];
        IntStream.range(0, n).parallel().forEach(i -> {
            try {
                piece.accept(i);
            } catch (RuntimeException | Error failure) {
                thrown[i] = failure;
            }
        });
        for (Throwable each : thrown) {
            switch (each) {
                case null -> {
                }
                case RuntimeException failure -> throw failure;
                case Error failure -> throw failure;
                default -> throw new AssertionError("a piece of work throws no checked exception", each);
            }
        }
    }
}
