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

    void add(long index, float value) {
        set(index, get(index) + value);
    }

    /** What storing {@code value} here and reading it back would give. */
    float rounded(float value) {
        return bf16 ? BFloat16.toFloat(BFloat16.fromFloat(value)) : value;
    }
}
