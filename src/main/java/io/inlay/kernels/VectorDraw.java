package io.inlay.kernels;

import static io.inlay.kernels.Lanes.FLOATS;
import static io.inlay.kernels.Lanes.INTS;
import static io.inlay.kernels.ScalarDraws.FARTHEST;
import static io.inlay.kernels.ScalarDraws.LN2_HIGH;
import static io.inlay.kernels.ScalarDraws.LN2_LOW;
import static io.inlay.kernels.ScalarDraws.LOG2_E;
import static io.inlay.kernels.ScalarDraws.ROUNDER;

import io.inlay.tensor.Tensor;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@link Kernels#draw} of one row after another by the Vector API, in memory that is kept from row to row. Confined to one thread at a
 * time.
 *
 * <p>Nothing is sorted, and where there are cuts only tokens are looked at that could stay. A bound on their logits comes from the maxima
 * of small groups of logits, since the k-th largest of all is no less than the k-th largest of these; for top-p from the total, since
 * tokens which all together weigh no more than the rest that top-p leaves out are of that rest.
 */
final class VectorDraw {

    private static final VectorSpecies<Long> LONGS = VectorSpecies.ofPreferred(long.class);
    private static final int LANES = FLOATS.length();

    /** Vectors whose maxima are taken together, lane by lane, and whose weights are summed together. */
    private static final int VECTORS = 64;
    private static final int GROUP = VECTORS * LANES;

    /** Logarithms of weights are good for this much. */
    private static final double SLACK = 1e-3;

    /** Bits of a key that are told apart at a time. */
    private static final int DIGIT = 11;

    /** The logits, then negative infinity up to a whole group. */
    private float[] row = new float[0];
    /** The largest of each lane of each group. */
    private float[] tops = new float[0];
    private long[] sums = new long[0];
    private int count;
    private float top;
    private float scale;
    /** Ids of tokens that may stay, ascending, with their logits, the keys that order them, and their weights. */
    private int[] ids = new int[LANES];
    private float[] values = new float[LANES];
    private int[] keys = new int[LANES];
    private long[] weights = new long[LANES];
    private int candidates;
    private final long[] bins = new long[1 << DIGIT];
    /** What is above the key that {@link #crossing} found. */
    private long above;

    int draw(Tensor logits, int r, Draw draw) {
        size(logits.dim(1));
        Lanes.load(logits, r * logits.stride(0), row, count);
        return draw(draw);
    }

    int draw(float[] logits, Draw draw) {
        size(logits.length);
        System.arraycopy(logits, 0, row, 0, count);
        return draw(draw);
    }

    private void size(int logits) {
        count = logits;
        int padded = Math.ceilDiv(logits, GROUP) * GROUP;
        if (row.length < padded) {
            row = new float[padded];
            tops = new float[padded / VECTORS];
            keys = keys.length < tops.length ? new int[tops.length] : keys;
            sums = new long[padded / GROUP];
        }
        Arrays.fill(row, count, row.length, Float.NEGATIVE_INFINITY);
    }

    private int groups() {
        return Math.ceilDiv(count, GROUP);
    }

    private int draw(Draw draw) {
        for (int g = 0; g < groups(); g++) {
            maxima(row, g * GROUP, tops, g * LANES);
        }
        top = largest(tops, groups() * LANES);
        if (!(top < Float.POSITIVE_INFINITY)) {
            return -1 - firstRefused();
        }
        if (top == Float.NEGATIVE_INFINITY) {
            return -1;
        }
        if (draw.greedy()) {
            return firstOfLargest();
        }
        scale = draw.scale();
        boolean cutsToK = draw.cutsToK(count);
        if (!cutsToK && draw.topP() == 1 && draw.minP() == 0) {
            return chooseOfAll(draw.random());
        }
        long total = cutsToK || draw.topP() == 1 ? 0 : sumAll();
        collect(cutsToK ? boundOfK(draw.topK()) : boundOf(draw.topP() == 1 ? Math.log(draw.minP()) : farthest(draw, total)));
        if (cutsToK) {
            drop(crossing(candidates, false, draw.topK()));
        }
        weigh(values, candidates, weights, top, scale);
        int least = 0;
        int last = count;
        if (draw.topP() < 1) {
            double enough = draw.enough(cutsToK ? sumKept(0, count, 0) : total);
            least = crossing(candidates, true, enough);
            last = lastOfTies(least, enough);
        }
        return choose(draw.random(), least, last, draw.least());
    }

    // ---- the largest ----

    /** The maxima of a group of logits, lane by lane; NaN where one is. */
    private static void maxima(float[] row, int from, float[] to, int at) {
        FloatVector most = FloatVector.fromArray(FLOATS, row, from);
        for (int i = 1; i < VECTORS; i++) {
            most = most.max(FloatVector.fromArray(FLOATS, row, from + i * LANES));
        }
        most.intoArray(to, at);
    }

    private static float largest(float[] values, int count) {
        float most = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < count; i++) {
            most = Math.max(most, values[i]);
        }
        return most;
    }

    private int firstRefused() {
        int v = 0;
        while (row[v] < Float.POSITIVE_INFINITY) {
            v++;
        }
        return v;
    }

    private int firstOfLargest() {
        int i = 0;
        while (tops[i] != top) {
            i++;
        }
        int v = i / LANES * GROUP;
        while (row[v] != top) {
            v++;
        }
        return v;
    }

    // ---- weights ----

    /** What weighs one part and more is not farther than this: {@code (logit - top) scale}, kept from being less than it can matter. */
    private static FloatVector differences(FloatVector logits, float top, float scale) {
        return logits.sub(top).mul(scale).max(FARTHEST);
    }

    /** In its lower bits how often ln 2 is in x, which is at most 0. */
    private static FloatVector shifted(FloatVector x) {
        return x.fma(FloatVector.broadcast(FLOATS, LOG2_E), FloatVector.broadcast(FLOATS, ROUNDER));
    }

    /** {@code e^(x - n ln 2)} in parts of 2^24. */
    private static IntVector mantissas(FloatVector x, FloatVector shifted) {
        FloatVector n = shifted.sub(ROUNDER);
        FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -LN2_HIGH), x);
        r = n.fma(FloatVector.broadcast(FLOATS, -LN2_LOW), r);
        FloatVector p = FloatVector.broadcast(FLOATS, 1f / 720);
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 120));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 24));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 6));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.5f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
        IntVector bits = p.reinterpretAsInts();
        // Its exponent is -1 or 0.
        IntVector doubled = bits.lanewise(VectorOperators.LSHR, 23).sub(126);
        return bits.and(0x7fffff).or(0x800000).lanewise(VectorOperators.LSHL, doubled);
    }

    private static IntVector halvings(FloatVector shifted) {
        return shifted.reinterpretAsInts().neg().add(Float.floatToRawIntBits(ROUNDER));
    }

    /** One half of the lanes. */
    private static LongVector weights(IntVector mantissas, IntVector halvings, int part) {
        LongVector wide = (LongVector) mantissas.convertShape(VectorOperators.ZERO_EXTEND_I2L, LONGS, part);
        return wide.lanewise(VectorOperators.LSHL, 16).lanewise(VectorOperators.LSHR,
                (LongVector) halvings.convertShape(VectorOperators.ZERO_EXTEND_I2L, LONGS, part));
    }

    /** What a group weighs. */
    private static long sum(float[] row, int from, float top, float scale) {
        LongVector sums = LongVector.zero(LONGS);
        for (int i = from; i < from + GROUP; i += LANES) {
            FloatVector x = differences(FloatVector.fromArray(FLOATS, row, i), top, scale);
            FloatVector shifted = shifted(x);
            IntVector mantissas = mantissas(x, shifted);
            IntVector halvings = halvings(shifted);
            sums = sums.add(weights(mantissas, halvings, 0)).add(weights(mantissas, halvings, 1));
        }
        return sums.reduceLanes(VectorOperators.ADD);
    }

    /** Writes the weights of the first {@code count} logits, and of those behind them up to a whole vector. */
    private static void weigh(float[] logits, int count, long[] to, float top, float scale) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector x = differences(FloatVector.fromArray(FLOATS, logits, i), top, scale);
            FloatVector shifted = shifted(x);
            IntVector mantissas = mantissas(x, shifted);
            IntVector halvings = halvings(shifted);
            weights(mantissas, halvings, 0).intoArray(to, i);
            weights(mantissas, halvings, 1).intoArray(to, i + LANES / 2);
        }
    }

    private long sumAll() {
        long total = 0;
        for (int g = 0; g < groups(); g++) {
            sums[g] = sum(row, g * GROUP, top, scale);
            total += sums[g];
        }
        return total;
    }

    private int chooseOfAll(long random) {
        long at = Math.unsignedMultiplyHigh(random, sumAll());
        int g = 0;
        for (; sums[g] <= at; g++) {
            at -= sums[g];
        }
        room(GROUP);
        System.arraycopy(row, g * GROUP, values, 0, GROUP);
        weigh(values, GROUP, weights, top, scale);
        int v = 0;
        for (; weights[v] <= at; v++) {
            at -= weights[v];
        }
        return g * GROUP + v;
    }

    // ---- what may stay ----

    /** How far below the largest, by the temperature, tokens are that top-p leaves out whatever their order is. */
    private double farthest(Draw draw, long total) {
        // Half of what they may weigh, so that no rounding matters.
        double each = (total - draw.enough(total)) / count / 2;
        return each < 1 ? FARTHEST : Math.log(each / Draw.WHOLE);
    }

    /** A logit of which none is less whose difference by the temperature is {@code x} or more. */
    private float boundOf(double x) {
        return Math.nextDown((float) (top + Math.max(x - SLACK, FARTHEST) / scale));
    }

    /** The k-th largest of the groups' maxima. */
    private float boundOfK(int k) {
        int all = groups() * LANES;
        if (k > all) {
            return Float.NEGATIVE_INFINITY;
        }
        for (int i = 0; i < all; i++) {
            keys[i] = key(tops[i]);
        }
        return logit(crossing(all, false, k));
    }

    /** Takes the logits that are no less than a bound for candidates. */
    private void collect(float bound) {
        candidates = 0;
        FloatVector bounds = FloatVector.broadcast(FLOATS, bound);
        for (int g = 0; g < groups(); g++) {
            if (FloatVector.fromArray(FLOATS, tops, g * LANES).compare(VectorOperators.GE, bounds).anyTrue()) {
                room(candidates + GROUP);
                for (int i = g * GROUP; i < (g + 1) * GROUP; i += LANES) {
                    long found = FloatVector.fromArray(FLOATS, row, i).compare(VectorOperators.GE, bounds).toLong();
                    for (; found != 0; found &= found - 1) {
                        ids[candidates++] = i + Long.numberOfTrailingZeros(found);
                    }
                }
            }
        }
        while (ids[candidates - 1] >= count) {
            candidates--;
        }
        for (int i = 0; i < candidates; i++) {
            values[i] = row[ids[i]];
            keys[i] = key(values[i]);
        }
    }

    /** Makes room for so many candidates, and a vector. */
    private void room(int size) {
        if (ids.length < size + LANES) {
            int larger = Math.max(size, 2 * ids.length) + LANES;
            ids = Arrays.copyOf(ids, larger);
            values = Arrays.copyOf(values, larger);
            weights = Arrays.copyOf(weights, larger);
            keys = Arrays.copyOf(keys, Math.max(larger, keys.length));
        }
    }

    /** Leaves the candidates whose keys are no less. */
    private void drop(int least) {
        int staying = 0;
        for (int i = 0; i < candidates; i++) {
            if (Integer.compareUnsigned(keys[i], least) >= 0) {
                ids[staying] = ids[i];
                values[staying] = values[i];
                keys[staying++] = keys[i];
            }
        }
        candidates = staying;
    }

    // ---- order ----

    /** Orders unsigned as its logit; both zeros are one. */
    private static int key(float logit) {
        int bits = Float.floatToRawIntBits(logit + 0f);
        return bits ^ (bits >> 31 | Integer.MIN_VALUE);
    }

    private static float logit(int key) {
        return Float.intBitsToFloat(key < 0 ? key ^ Integer.MIN_VALUE : ~key);
    }

    /** The largest of the first {@code size} keys by which, from the largest down, their number, or what they weigh, is enough. */
    private int crossing(int size, boolean weighed, double enough) {
        above = 0;
        int found = 0;
        for (int shift = 32; shift > 0;) {
            int digit = Math.min(DIGIT, shift);
            int before = shift;
            shift -= digit;
            Arrays.fill(bins, 0);
            for (int i = 0; i < size; i++) {
                if (before == 32 || keys[i] >>> before == found) {
                    bins[keys[i] >>> shift & (1 << digit) - 1] += weighed ? weights[i] : 1;
                }
            }
            int at = (1 << digit) - 1;
            while (above + bins[at] < enough) {
                above += bins[at--];
            }
            found = found << digit | at;
        }
        return found;
    }

    /** The last of the candidates with this key that is needed for enough. */
    private int lastOfTies(int key, double enough) {
        long reached = above;
        int last = 0;
        for (int i = 0; reached < enough; i++) {
            if (keys[i] == key) {
                reached += weights[i];
                last = ids[i];
            }
        }
        return last;
    }

    // ---- the choice ----

    /** What candidate i weighs, 0 if it is not kept: above a key, or with that key up to an id, and heavy enough. */
    private long kept(int i, int least, int last, double lightest) {
        int order = Integer.compareUnsigned(keys[i], least);
        return (order > 0 || order == 0 && ids[i] <= last) && weights[i] >= lightest ? weights[i] : 0;
    }

    private long sumKept(int least, int last, double lightest) {
        long total = 0;
        for (int i = 0; i < candidates; i++) {
            total += kept(i, least, last, lightest);
        }
        return total;
    }

    private int choose(long random, int least, int last, double lightest) {
        long at = Math.unsignedMultiplyHigh(random, sumKept(least, last, lightest));
        int i = 0;
        for (long weight = kept(0, least, last, lightest); weight <= at; weight = kept(i, least, last, lightest)) {
            at -= weight;
            i++;
        }
        return ids[i];
    }
}
