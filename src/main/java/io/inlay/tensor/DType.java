package io.inlay.tensor;

import java.util.Locale;

/** Element types of tensors. {@link #torch} is libtorch's scalar type number, stable since 1.0 (c10/core/ScalarType.h). */
public enum DType {
    UINT8(0, 1),
    INT8(1, 1),
    INT32(3, 4),
    INT64(4, 8),
    FP16(5, 2),
    FP32(6, 4),
    BF16(15, 2);

    private final int torch;
    private final int bytes;

    DType(int torch, int bytes) {
        this.torch = torch;
        this.bytes = bytes;
    }

    int torch() {
        return torch;
    }

    /** Bytes of one element. */
    public int bytes() {
        return bytes;
    }

    public boolean floating() {
        return this == BF16 || this == FP16 || this == FP32;
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
