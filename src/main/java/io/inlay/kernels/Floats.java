package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Memory of bf16 or fp32 elements, read and written as floats; indices count elements from the first. */
record Floats(MemorySegment memory, boolean bf16) {

    static Floats of(Tensor tensor) {
        return new Floats(tensor.segment(), tensor.dtype() == DType.BF16);
    }

    float get(long index) {
        return bf16 ? BFloat16.toFloat(memory.get(JAVA_SHORT_UNALIGNED, 2 * index)) : memory.get(JAVA_FLOAT_UNALIGNED, 4 * index);
    }

    void set(long index, float value) {
        if (bf16) {
            memory.set(JAVA_SHORT_UNALIGNED, 2 * index, BFloat16.fromFloat(value));
        } else {
            memory.set(JAVA_FLOAT_UNALIGNED, 4 * index, value);
        }
    }

    /** The elements from {@code index} on, as many as {@code to} has room for. */
    void load(long index, float[] to) {
        if (!bf16) {
            MemorySegment.copy(memory, JAVA_FLOAT_UNALIGNED, 4 * index, to, 0, to.length);
            return;
        }
        short[] bits = new short[to.length];
        MemorySegment.copy(memory, JAVA_SHORT_UNALIGNED, 2 * index, bits, 0, bits.length);
        for (int i = 0; i < bits.length; i++) {
            to[i] = BFloat16.toFloat(bits[i]);
        }
    }

    /** Writes all of {@code from} from {@code index} on. */
    void store(float[] from, long index) {
        if (!bf16) {
            MemorySegment.copy(from, 0, memory, JAVA_FLOAT_UNALIGNED, 4 * index, from.length);
            return;
        }
        short[] bits = new short[from.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = BFloat16.fromFloat(from[i]);
        }
        MemorySegment.copy(bits, 0, memory, JAVA_SHORT_UNALIGNED, 2 * index, bits.length);
    }

    void add(long index, float value) {
        set(index, get(index) + value);
    }

    /** What storing {@code value} here and reading it back would give. */
    float rounded(float value) {
        return bf16 ? BFloat16.toFloat(BFloat16.fromFloat(value)) : value;
    }
}
