package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.util.Arrays;

/**
 * Inverted dropout (Srivastava et al. 2014) by a counter: whether an element stays depends on the key and on the element's number alone.
 * So the backward pass draws what the forward pass drew without a mask kept between, threads cannot change it, and a run that is resumed
 * at some step draws what an unbroken one would have.
 *
 * <p>Element i (row-major) is dropped when 16 bits of a random word are below {@code 65536 rate}, rounded; the word is number i / 4 of
 * java.util.SplittableRandom(key), the bits are its i mod 4th from below. What stays is divided by the share that stays.
 */
public final class Dropout {

    private static final long GOLDEN = 0x9E3779B97F4A7C15L;
    private static final int LEVELS = 1 << 16;

    private final int threshold;
    private final float scale;
    private final long key;
    private final Cores cores = new Cores(CpuKernels.threads());

    /**
     * @param rate share that is dropped, 0 to below 1
     * @param seed of the run
     * @param place what tells this use from all others of the run: step, part of its batch, linear
     */
    public Dropout(double rate, long seed, long... place) {
        if (!(rate >= 0 && rate < 1)) {
            throw new IllegalArgumentException("dropout of " + rate + "; it must be 0 to below 1");
        }
        this.threshold = (int) Math.min(LEVELS - 1, Math.round(rate * LEVELS));
        this.scale = (float) LEVELS / (LEVELS - threshold);
        this.key = Arrays.stream(place).reduce(next(seed), (key, part) -> next(key + part));
    }

    /** {@code out = x mask / (1 - rate)}: x, out [N, K] of one type with dense rows; out may be x. */
    public void apply(Tensor x, Tensor out) {
        forEachRow(x, out, scale, 0);
    }

    /** {@code out = x - apply(x)}, rounded once. */
    public void rest(Tensor x, Tensor out) {
        forEachRow(x, out, 1 - scale, 1);
    }

    private void forEachRow(Tensor x, Tensor out, float kept, float dropped) {
        if (x.rank() != 2 || !out.hasSizes(x.sizes()) || x.dtype() != out.dtype() || !x.rowsDense() || !out.rowsDense()) {
            throw new IllegalArgumentException("dropout does not fit its operands: " + x + " and " + out);
        }
        try (HostOperands host = new HostOperands()) {
            hostRows(host.read(x), host.written(out), kept, dropped);
        }
    }

    private void hostRows(Tensor x, Tensor out, float kept, float dropped) {
        Floats from = Floats.of(x);
        Floats to = Floats.of(out);
        int columns = x.dim(1);
        cores.forEach(x.dim(0), x.elements(), (begin, end) -> {
            float[] values = new float[columns];
            for (int row = begin; row < end; row++) {
                from.load(row * x.stride(0), values);
                draw(values, (long) row * columns, kept, dropped);
                to.store(values, row * out.stride(0));
            }
        });
    }

    /** Multiplies elements, numbered from {@code first}, by {@code kept} where they stay and by {@code dropped} elsewhere. */
    private void draw(float[] values, long first, float kept, float dropped) {
        int k = 0;
        while (k < values.length) {
            long i = first + k;
            int lane = (int) (i & 3);
            long word = next(key + (i >>> 2) * GOLDEN) >>> 16 * lane;
            for (int end = Math.min(values.length, k + 4 - lane); k < end; k++, word >>>= 16) {
                values[k] *= (word & 0xFFFF) >= threshold ? kept : dropped;
            }
        }
    }

    /** The first long of {@code SplittableRandom(seed)} (Steele, Lea, Flood 2014). */
    private static long next(long seed) {
        long z = seed + GOLDEN;
        z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
        z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
        return z ^ z >>> 31;
    }
}
