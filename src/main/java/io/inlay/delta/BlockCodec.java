package io.inlay.delta;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdDecompressCtx;
import io.inlay.Problem;
import java.util.Arrays;

/**
 * Compresses a chunk of block values against the base's values at the same places, in one of three forms; the decoder gives back every bit
 * pattern, NaN and -0 included. Formats to the byte: model-store/README.md. For one thread at a time: it keeps its buffers and zstd's.
 *
 * <p>{@code ORDERED} maps bf16 to integers in the order of their values, so that a small change is a small difference whatever the sign;
 * subtracts the base; folds signs into the low bit; and sorts values by the exponent of the base beneath, which the decoder knows: equal
 * exponents have steps of like size, so what lies together is alike.
 */
final class BlockCodec implements AutoCloseable {

    /** Forms of a chunk; the ordinal is the byte in the file. */
    enum Form {
        RAW,
        XOR_SPLIT,
        ORDERED
    }

    private static final int ZSTD_LEVEL = 1;

    /**
     * What is left to zstd is noise of uneven bytes: Huffman's codes do all the work. The longest match and the smallest table that zstd
     * has keep it from looking for repetitions, which makes it both faster and, by the cost of the sequences, smaller.
     */
    private static final int ZSTD_MIN_MATCH = 7;
    private static final int ZSTD_HASH_LOG = 6;
    private static final int ZSTD_WINDOW_LOG = 17;

    /** Up to this many values both forms are tried; above, a sample of as many tells which one to try. */
    private static final int SAMPLE = 1 << 14;

    private static final int EXPONENTS = 256;

    private final ZstdCompressCtx compressor = new ZstdCompressCtx();
    private final ZstdDecompressCtx decompressor = new ZstdDecompressCtx();
    private final int[] next = new int[EXPONENTS];
    private byte[] planes = new byte[0];
    private byte[] frame = new byte[0];
    private short[] values = new short[0];
    private short[] base = new short[0];
    private short[] steps = new short[0];
    private short[] sorted = new short[0];

    BlockCodec() {
        compressor.setLevel(ZSTD_LEVEL).setMinMatch(ZSTD_MIN_MATCH).setHashLog(ZSTD_HASH_LOG).setWindowLog(ZSTD_WINDOW_LOG);
    }

    /** One chunk as it lies in a file. */
    record Chunk(Form form, byte[] bytes) {
    }

    /** The chunk in the form that promises to be the smallest, and is never larger than raw. */
    Chunk encode(short[] values, short[] base) {
        Chunk best;
        if (values.length > SAMPLE) {
            best = encode(orderedPromisesLess(values, base) ? Form.ORDERED : Form.XOR_SPLIT, values, base);
        } else {
            Chunk ordered = encode(Form.ORDERED, values, base);
            Chunk split = encode(Form.XOR_SPLIT, values, base);
            best = ordered.bytes().length <= split.bytes().length ? ordered : split;
        }
        return best.bytes().length < 2 * values.length ? best : encode(Form.RAW, values, base);
    }

    Chunk encode(Form form, short[] values, short[] base) {
        int n = values.length;
        if (form == Form.RAW) {
            byte[] raw = new byte[2 * n];
            for (int i = 0; i < n; i++) {
                raw[2 * i] = (byte) values[i];
                raw[2 * i + 1] = (byte) (values[i] >> 8);
            }
            return new Chunk(form, raw);
        }
        byte[] split = planes(n);
        if (form == Form.XOR_SPLIT) {
            for (int i = 0; i < n; i++) {
                int x = values[i] ^ base[i];
                split[i] = (byte) (x >> 8);
                split[n + i] = (byte) x;
            }
        } else {
            sort(values, base, split);
        }
        byte[] packed = frame(Math.toIntExact(Zstd.compressBound(2L * n)));
        int length = compressor.compressByteArray(packed, 0, packed.length, split, 0, 2 * n);
        return new Chunk(form, Arrays.copyOf(packed, length));
    }

    /** Zigzagged steps into their places of the stable counting sort, high and low bytes apart. */
    private void sort(short[] of, short[] under, byte[] split) {
        int n = of.length;
        short[] steps = steps(n);
        short[] sorted = sorted(n);
        OrderedSteps.fold(of, under, steps);
        scatter(steps, under, exponentStarts(under), sorted);
        OrderedSteps.split(sorted, n, split);
    }

    /** A method of its own, as {@link #gather} is: inlined among vectors, the loop takes half as long again. */
    private static void scatter(short[] steps, short[] under, int[] places, short[] sorted) {
        for (int i = 0; i < under.length; i++) {
            sorted[places[exponent(under[i])]++] = steps[i];
        }
    }

    /**
     * Fills {@code values} from a chunk's bytes.
     *
     * @param bytes of which the first {@code length} are the chunk's
     * @param label file and tensor, for refusals
     */
    void decode(Form form, byte[] bytes, int length, short[] base, short[] values, String label) {
        int n = values.length;
        if (form == Form.RAW) {
            if (length != 2 * n) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a raw chunk of " + length + " bytes, not " + 2 * n);
            }
            for (int i = 0; i < n; i++) {
                values[i] = (short) (bytes[2 * i] & 0xFF | bytes[2 * i + 1] << 8);
            }
            return;
        }
        byte[] split = inflate(bytes, length, n, label);
        if (form == Form.XOR_SPLIT) {
            for (int i = 0; i < n; i++) {
                values[i] = (short) ((split[i] << 8 | split[n + i] & 0xFF) ^ base[i]);
            }
        } else {
            unsort(split, base, values);
        }
    }

    private void unsort(byte[] split, short[] under, short[] to) {
        int n = to.length;
        short[] sorted = sorted(n);
        OrderedSteps.join(split, n, sorted);
        gather(sorted, under, exponentStarts(under), to);
        OrderedSteps.unfold(to, under);
    }

    private static void gather(short[] sorted, short[] under, int[] places, short[] to) {
        for (int i = 0; i < under.length; i++) {
            to[i] = sorted[places[exponent(under[i])]++];
        }
    }

    /** Never writes past the chunk's planes, whatever the frame claims. */
    private byte[] inflate(byte[] bytes, int length, int n, String label) {
        byte[] split = planes(n);
        try {
            int written = decompressor.decompressByteArray(split, 0, 2 * n, bytes, 0, length);
            if (written == 2 * n) {
                return split;
            }
        } catch (RuntimeException refused) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a chunk that does not decompress to " + 2 * n + " bytes: "
                    + refused.getMessage(), refused);
        }
        throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a chunk that does not decompress to " + 2 * n + " bytes");
    }

    private short[] steps(int n) {
        if (steps.length < n) {
            steps = new short[n];
        }
        return steps;
    }

    private short[] sorted(int n) {
        if (sorted.length < n) {
            sorted = new short[n];
        }
        return sorted;
    }

    private byte[] planes(int n) {
        if (planes.length < 2 * n) {
            planes = new byte[2 * n];
        }
        return planes;
    }

    /** A buffer of exactly n values, for whoever calls the codec; the same one each time. */
    short[] values(int n) {
        if (values.length != n) {
            values = new short[n];
        }
        return values;
    }

    /** Likewise, for the base's values. */
    short[] base(int n) {
        if (base.length != n) {
            base = new short[n];
        }
        return base;
    }

    /** Likewise, of at least n bytes, for a chunk's. */
    byte[] frame(int n) {
        if (frame.length < n) {
            frame = new byte[n];
        }
        return frame;
    }

    /** Compares the forms by the order-0 entropy of their bytes in a sample. */
    private static boolean orderedPromisesLess(short[] values, short[] base) {
        int[][] counts = new int[4][256];
        // An odd step, so that no column of a block is preferred.
        int step = values.length / SAMPLE | 1;
        for (int i = 0; i < values.length; i += step) {
            int folded = OrderedSteps.folded(values[i], base[i]);
            int x = values[i] ^ base[i];
            counts[0][folded >> 8]++;
            counts[1][folded & 0xFF]++;
            counts[2][x >> 8 & 0xFF]++;
            counts[3][x & 0xFF]++;
        }
        return bits(counts[0]) + bits(counts[1]) <= bits(counts[2]) + bits(counts[3]);
    }

    private static double bits(int[] counts) {
        double total = Arrays.stream(counts).sum();
        return Arrays.stream(counts).filter(count -> count > 0).mapToDouble(count -> count * Math.log(total / count)).sum();
    }

    private static int exponent(short bits) {
        return bits >> 7 & 0xFF;
    }

    /** Where each exponent's values begin in the stable counting sort. */
    private int[] exponentStarts(short[] under) {
        Arrays.fill(next, 0);
        for (short bits : under) {
            next[exponent(bits)]++;
        }
        int at = 0;
        for (int e = 0; e < EXPONENTS; e++) {
            int held = next[e];
            next[e] = at;
            at += held;
        }
        return next;
    }

    @Override
    public void close() {
        compressor.close();
        decompressor.close();
    }
}
