package io.inlay.kernels;

/** bf16 as bit patterns: the upper half of a float. */
public final class BFloat16 {

    private BFloat16() {
    }

    public static float toFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /** Rounds to the nearest, ties to even; NaN stays NaN (made quiet, its sign and upper payload kept), as libtorch and AVX-512 do. */
    public static short fromFloat(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (value != value) {
            return (short) (bits >>> 16 | 0x40);
        }
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }
}
