package io.inlay.delta;

import com.github.luben.zstd.Zstd;
import io.inlay.Problem;
import java.util.Arrays;

/**
 * Compresses a chunk of block values against the base's values at the same places. The encoder keeps the smallest of three forms; the
 * decoder gives back every bit pattern, NaN and -0 included. Formats to the byte: model-store/README.md.
 *
 * <p>{@code ORDERED} maps bf16 to integers in the order of their values, so that a small change is a small difference whatever the sign;
 * subtracts the base; folds signs into the low bit; and sorts values by the exponent of the base beneath, which the decoder knows: equal
 * exponents have steps of like size, so what lies together is alike.
 */
final class BlockCodec {

    /** Forms of a chunk; the ordinal is the byte in the file. */
    enum Form {
        RAW,
        XOR_SPLIT,
        ORDERED
    }

    private static final int ZSTD_LEVEL = 1;

    private BlockCodec() {
    }

    /** One chunk as it lies in a file. */
    record Chunk(Form form, byte[] bytes) {
    }

    static Chunk encode(short[] values, short[] base) {
        Chunk ordered = encode(Form.ORDERED, values, base);
        Chunk split = encode(Form.XOR_SPLIT, values, base);
        Chunk best = ordered.bytes().length <= split.bytes().length ? ordered : split;
        return best.bytes().length < 2 * values.length ? best : encode(Form.RAW, values, base);
    }

    static Chunk encode(Form form, short[] values, short[] base) {
        int n = values.length;
        byte[] planes = new byte[2 * n];
        switch (form) {
            case RAW -> {
                for (int i = 0; i < n; i++) {
                    planes[2 * i] = (byte) values[i];
                    planes[2 * i + 1] = (byte) (values[i] >> 8);
                }
                return new Chunk(form, planes);
            }
            case XOR_SPLIT -> {
                for (int i = 0; i < n; i++) {
                    int x = values[i] ^ base[i];
                    planes[i] = (byte) (x >> 8);
                    planes[n + i] = (byte) x;
                }
            }
            case ORDERED -> {
                int[] next = exponentStarts(base);
                for (int i = 0; i < n; i++) {
                    int folded = fold(order(values[i]) - order(base[i]));
                    int at = next[exponent(base[i])]++;
                    planes[at] = (byte) (folded >> 8);
                    planes[n + at] = (byte) folded;
                }
            }
        }
        return new Chunk(form, Zstd.compress(planes, ZSTD_LEVEL));
    }

    /**
     * Fills {@code values} from {@code length} bytes of {@code file} at {@code offset}.
     *
     * @param label file and tensor, for refusals
     */
    static void decode(Form form, byte[] file, short[] base, short[] values, String label) {
        int n = values.length;
        byte[] planes = form == Form.RAW ? file : inflate(file, 2 * n, label);
        if (planes.length != 2 * n) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a raw chunk of " + planes.length + " bytes, not " + 2 * n);
        }
        switch (form) {
            case RAW -> {
                for (int i = 0; i < n; i++) {
                    values[i] = (short) (planes[2 * i] & 0xFF | planes[2 * i + 1] << 8);
                }
            }
            case XOR_SPLIT -> {
                for (int i = 0; i < n; i++) {
                    values[i] = (short) ((planes[i] << 8 | planes[n + i] & 0xFF) ^ base[i]);
                }
            }
            case ORDERED -> {
                int[] next = exponentStarts(base);
                for (int i = 0; i < n; i++) {
                    int at = next[exponent(base[i])]++;
                    int folded = (planes[at] & 0xFF) << 8 | planes[n + at] & 0xFF;
                    values[i] = unorder(order(base[i]) + unfold(folded));
                }
            }
        }
    }

    /** Never writes past {@code expected} bytes, whatever the payload claims. */
    private static byte[] inflate(byte[] file, int expected, String label) {
        byte[] planes = new byte[expected];
        long written;
        try {
            written = Zstd.decompressByteArray(planes, 0, expected, file, 0, file.length);
        } catch (RuntimeException refused) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a chunk that does not decompress to " + expected + " bytes: "
                    + refused.getMessage(), refused);
        }
        if (Zstd.isError(written) || written != expected) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a chunk that does not decompress to " + expected + " bytes"
                    + (Zstd.isError(written) ? ": " + Zstd.getErrorName(written) : ""));
        }
        return planes;
    }

    /** bf16 bits as an integer in [0, 65535] that grows with the value: -NaN, -inf, ..., -0, +0, ..., +inf, NaN. */
    private static int order(short bits) {
        return (bits ^ (bits < 0 ? 0xFFFF : 0x8000)) & 0xFFFF;
    }

    private static short unorder(int ordered) {
        int bits = ordered & 0xFFFF;
        return (short) (bits ^ ((bits & 0x8000) != 0 ? 0x8000 : 0xFFFF));
    }

    /** Zigzag of the difference modulo 2^16: 0, -1, 1, -2, ... become 0, 1, 2, 3, ... */
    private static int fold(int difference) {
        short d = (short) difference;
        return (d << 1 ^ d >> 15) & 0xFFFF;
    }

    private static int unfold(int folded) {
        return folded >>> 1 ^ -(folded & 1);
    }

    private static int exponent(short bits) {
        return bits >> 7 & 0xFF;
    }

    /** Where each exponent's values begin in the stable counting sort. */
    private static int[] exponentStarts(short[] base) {
        int[] count = new int[257];
        for (short bits : base) {
            count[exponent(bits) + 1]++;
        }
        for (int e = 0; e < 256; e++) {
            count[e + 1] += count[e];
        }
        return Arrays.copyOf(count, 256);
    }
}
