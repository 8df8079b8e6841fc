package io.inlay.model;

import io.inlay.tensor.DType;

/** The weight types that a checkpoint may have, by their names in safetensors. */
public enum StoredType {
    BF16(DType.BF16),
    F16(DType.FP16),
    F32(DType.FP32);

    private final DType dtype;

    StoredType(DType dtype) {
        this.dtype = dtype;
    }

    public DType dtype() {
        return dtype;
    }

    /** The name under which safetensors knows an element type; null when no weight may have it. */
    static StoredType of(DType dtype) {
        for (StoredType type : values()) {
            if (type.dtype == dtype) {
                return type;
            }
        }
        return null;
    }

    static StoredType named(String name) {
        for (StoredType type : values()) {
            if (type.name().equals(name)) {
                return type;
            }
        }
        return null;
    }
}
