package io.inlay.delta;

import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The arithmetic of the ordered form, many values at a time. bf16 bits as an integer that grows with the value, from -NaN over -0 and +0 to
 * NaN, are {@code order(u) = u ^ (u < 0 ? 0xFFFF : 0x8000)}; a step is the difference of two such integers modulo 2^16, and its zigzag is 0,
 * 1, 2, 3, ... for 0, -1, 1, -2, ... Where the JVM was started without the Vector API's module, one at a time, with the same results.
 */
final class OrderedSteps {

    private static final boolean VECTORS = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();

    private OrderedSteps() {
    }

    /** The slow twin of all that follows: the zigzag of the step from base to value, in [0, 65535]. */
    static int folded(short value, short base) {
        short step = (short) (order(value) - order(base));
        return (step << 1 ^ step >> 15) & 0xFFFF;
    }

    /** The value at a zigzagged step from the base. */
    static short unfolded(int folded, short base) {
        int ordered = order(base) + (folded >>> 1 ^ -(folded & 1));
        return (short) (ordered ^ (~((short) ordered >> 15) | 0x8000));
    }

    private static int order(short bits) {
        return bits ^ (bits >> 15 | 0x8000);
    }

    /** Zigzagged steps from bases to values. */
    static void fold(short[] values, short[] bases, short[] folded) {
        for (int i = VECTORS ? Lanes.fold(values, bases, folded) : 0; i < values.length; i++) {
            folded[i] = (short) folded(values[i], bases[i]);
        }
    }

    /** Values from their zigzagged steps, in place. */
    static void unfold(short[] steps, short[] bases) {
        for (int i = VECTORS ? Lanes.unfold(steps, bases) : 0; i < steps.length; i++) {
            steps[i] = unfolded(steps[i] & 0xFFFF, bases[i]);
        }
    }

    /** High bytes, then low bytes, of n numbers. */
    static void split(short[] numbers, int n, byte[] planes) {
        for (int i = VECTORS ? Lanes.split(numbers, n, planes) : 0; i < n; i++) {
            planes[i] = (byte) (numbers[i] >> 8);
            planes[n + i] = (byte) numbers[i];
        }
    }

    /** The n numbers of which planes has the high bytes, then the low bytes. */
    static void join(byte[] planes, int n, short[] numbers) {
        for (int i = VECTORS ? Lanes.join(planes, n, numbers) : 0; i < n; i++) {
            numbers[i] = (short) (planes[i] << 8 | planes[n + i] & 0xFF);
        }
    }

    /** The same by vectors, for as many as fill whole ones; each returns how many it did. */
    private static final class Lanes {

        private static final VectorSpecies<Short> SHORTS = ShortVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Byte> BYTES = VectorSpecies.of(byte.class, VectorShape.forBitSize(SHORTS.vectorBitSize() / 2));

        private static int fold(short[] values, short[] bases, short[] folded) {
            int end = SHORTS.loopBound(values.length);
            for (int i = 0; i < end; i += SHORTS.length()) {
                ShortVector step = order(ShortVector.fromArray(SHORTS, values, i)).sub(order(ShortVector.fromArray(SHORTS, bases, i)));
                step.lanewise(VectorOperators.LSHL, 1).lanewise(VectorOperators.XOR, step.lanewise(VectorOperators.ASHR, 15))
                        .intoArray(folded, i);
            }
            return end;
        }

        private static int unfold(short[] steps, short[] bases) {
            int end = SHORTS.loopBound(steps.length);
            for (int i = 0; i < end; i += SHORTS.length()) {
                ShortVector folded = ShortVector.fromArray(SHORTS, steps, i);
                ShortVector step = folded.lanewise(VectorOperators.LSHR, 1)
                        .lanewise(VectorOperators.XOR, folded.and((short) 1).neg());
                ShortVector ordered = order(ShortVector.fromArray(SHORTS, bases, i)).add(step);
                ordered.lanewise(VectorOperators.XOR, ordered.lanewise(VectorOperators.ASHR, 15).not().or((short) 0x8000))
                        .intoArray(steps, i);
            }
            return end;
        }

        private static ShortVector order(ShortVector bits) {
            return bits.lanewise(VectorOperators.XOR, bits.lanewise(VectorOperators.ASHR, 15).or((short) 0x8000));
        }

        private static int split(short[] numbers, int n, byte[] planes) {
            int end = SHORTS.loopBound(n);
            for (int i = 0; i < end; i += SHORTS.length()) {
                ShortVector each = ShortVector.fromArray(SHORTS, numbers, i);
                ((ByteVector) each.lanewise(VectorOperators.LSHR, 8).convertShape(VectorOperators.S2B, BYTES, 0)).intoArray(planes, i);
                ((ByteVector) each.convertShape(VectorOperators.S2B, BYTES, 0)).intoArray(planes, n + i);
            }
            return end;
        }

        private static int join(byte[] planes, int n, short[] numbers) {
            int end = SHORTS.loopBound(n);
            for (int i = 0; i < end; i += SHORTS.length()) {
                ShortVector high = (ShortVector) ByteVector.fromArray(BYTES, planes, i).convertShape(VectorOperators.B2S, SHORTS, 0);
                ShortVector low = (ShortVector) ByteVector.fromArray(BYTES, planes, n + i).convertShape(VectorOperators.B2S, SHORTS, 0);
                high.lanewise(VectorOperators.LSHL, 8).or(low.and((short) 0xFF)).intoArray(numbers, i);
            }
            return end;
        }
    }
}
