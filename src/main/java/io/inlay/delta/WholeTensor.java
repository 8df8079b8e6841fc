package io.inlay.delta;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A trained weight that is not cut into blocks: an embedding, a norm's vector, a matrix that no edge divides.
 *
 * @param tensor the weight's name in the checkpoint, {@code model.norm.weight}
 * @param shape its sizes
 * @param values bf16 bit patterns, row-major, native byte order (little endian); the memory's owner decides how long they live
 */
public record WholeTensor(String tensor, long[] shape, MemorySegment values) {

    public WholeTensor {
        shape = shape.clone();
        long elements = 1;
        for (long size : shape) {
            if (size <= 0) {
                throw new IllegalArgumentException(tensor + " of " + Arrays.toString(shape) + " has no values");
            }
            elements = Math.multiplyExact(elements, size);
        }
        if (values.byteSize() != 2 * elements) {
            throw new IllegalArgumentException(tensor + " of " + Arrays.toString(shape) + " is not " + values.byteSize() + " bytes");
        }
    }

    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Values in it. */
    public long count() {
        return values.byteSize() / 2;
    }
}
