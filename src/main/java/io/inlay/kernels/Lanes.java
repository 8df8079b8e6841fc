package io.inlay.kernels;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Loops over floats by the Vector API, as {@link VectorKernels} needs them. Rows of bf16 are widened into float arrays, worked on there,
 * and narrowed again; a row stays in the first-level cache between. Sums have a fixed order: lane by lane, the lanes by halves, then
 * the tail one by one (the Vector API's own reduction leaves the order open: interpreter and compiler may differ).
 */
final class Lanes {

    static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
    static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));

    private Lanes() {
    }

    // ---- rows of memory to floats and back ----

    /** The first {@code count} elements from element {@code from} of the tensor's memory on. */
    static void load(Tensor tensor, long from, float[] to, int count) {
        load(tensor.segment(), tensor.dtype() == DType.BF16, from, to, 0, count);
    }

    static void load(MemorySegment memory, boolean bf16, long from, float[] to, int at, int count) {
        if (!bf16) {
            MemorySegment.copy(memory, ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * from, to, at, count);
            return;
        }
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            ShortVector bits = ShortVector.fromMemorySegment(SHORTS, memory, 2 * (from + i), LITTLE_ENDIAN);
            IntVector words = (IntVector) bits.convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0);
            words.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(to, at + i);
        }
        for (; i < count; i++) {
            to[at + i] = BFloat16.toFloat(memory.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * (from + i)));
        }
    }

    static void store(float[] from, Tensor tensor, long to, int count) {
        MemorySegment memory = tensor.segment();
        if (tensor.dtype() != DType.BF16) {
            MemorySegment.copy(from, 0, memory, ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * to, count);
            return;
        }
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            FloatVector value = FloatVector.fromArray(FLOATS, from, i);
            IntVector word = value.reinterpretAsInts();
            IntVector even = word.lanewise(VectorOperators.LSHR, 16);
            IntVector rounded = word.add(even.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
            VectorMask<Integer> notANumber = value.test(VectorOperators.IS_NAN).cast(INTS);
            ShortVector bits = (ShortVector) rounded.blend(even.or(0x40), notANumber).convertShape(VectorOperators.I2S, SHORTS, 0);
            bits.intoMemorySegment(memory, 2 * (to + i), LITTLE_ENDIAN);
        }
        for (; i < count; i++) {
            memory.set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * (to + i), BFloat16.fromFloat(from[i]));
        }
    }

    /** What storing the values in the tensor's type and loading them again would give. */
    static void round(float[] values, Tensor like, int count) {
        if (like.dtype() == DType.BF16) {
            for (int i = 0; i < count; i++) {
                values[i] = BFloat16.toFloat(BFloat16.fromFloat(values[i]));
            }
        }
    }

    // ---- sums ----

    static float dot(float[] a, int from, float[] b, int count) {
        FloatVector sums = FloatVector.zero(FLOATS);
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            sums = FloatVector.fromArray(FLOATS, a, from + i).fma(FloatVector.fromArray(FLOATS, b, i), sums);
        }
        float sum = add(sums);
        for (; i < count; i++) {
            sum = Math.fma(a[from + i], b[i], sum);
        }
        return sum;
    }

    /** All lanes by halves: the same order whoever runs it. */
    static float add(FloatVector lanes) {
        float[] values = lanes.toArray();
        for (int width = values.length / 2; width > 0; width /= 2) {
            for (int i = 0; i < width; i++) {
                values[i] += values[i + width];
            }
        }
        return values[0];
    }

    static float max(float[] values, int from, int count) {
        FloatVector tops = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            tops = tops.max(FloatVector.fromArray(FLOATS, values, from + i));
        }
        float top = Float.NEGATIVE_INFINITY;
        for (float lane : tops.toArray()) {
            top = Math.max(top, lane);
        }
        for (; i < count; i++) {
            top = Math.max(top, values[from + i]);
        }
        return top;
    }

    /** {@code to[i] += factor from[i]}. */
    static void addScaled(float[] to, float factor, float[] from, int count) {
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            FloatVector.fromArray(FLOATS, from, i).fma(FloatVector.broadcast(FLOATS, factor), FloatVector.fromArray(FLOATS, to, i))
                    .intoArray(to, i);
        }
        for (; i < count; i++) {
            to[i] = Math.fma(from[i], factor, to[i]);
        }
    }

    // ---- exp ----

    /** {@code to[i] = e^(sign (from[i] - shift))}; the tail goes through the same lanes. */
    static void exp(float[] from, int at, float shift, float sign, float[] to, int count) {
        int i = 0;
        for (; i <= count - FLOATS.length(); i += FLOATS.length()) {
            exp(FloatVector.fromArray(FLOATS, from, at + i).sub(shift).mul(sign)).intoArray(to, at + i);
        }
        if (i < count) {
            VectorMask<Float> rest = FLOATS.indexInRange(i, count);
            exp(FloatVector.fromArray(FLOATS, from, at + i, rest).sub(shift).mul(sign)).intoArray(to, at + i, rest);
        }
    }

    /** As exp_lanes in kernels/cpu/inlay.h: reduction by Cody and Waite, a polynomial of degree 6; 0 below -87.3. */
    private static FloatVector exp(FloatVector x) {
        FloatVector clamped = x.max(-88f).min(88.9f);
        FloatVector shifted = clamped.mul(1.44269504f).add(12582912f);
        FloatVector n = shifted.sub(12582912f);
        FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -0.693145752f), clamped);
        r = n.fma(FloatVector.broadcast(FLOATS, -1.42860677e-6f), r);
        FloatVector p = FloatVector.broadcast(FLOATS, 1f / 720);
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 120));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 24));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f / 6));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 0.5f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
        p = p.fma(r, FloatVector.broadcast(FLOATS, 1f));
        IntVector exponent = shifted.reinterpretAsInts().sub(Float.floatToRawIntBits(12582912f));
        IntVector half = exponent.lanewise(VectorOperators.ASHR, 1);
        FloatVector lower = half.add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
        FloatVector upper = exponent.sub(half).add(127).lanewise(VectorOperators.LSHL, 23).reinterpretAsFloats();
        return p.mul(lower).mul(upper).blend(0f, x.compare(VectorOperators.LT, -87.3f))
                .blend(Float.POSITIVE_INFINITY, x.compare(VectorOperators.GT, 88.7228f)).blend(x, x.test(VectorOperators.IS_NAN));
    }
}
