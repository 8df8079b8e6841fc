package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import java.nio.file.Path;

/**
 * How to hold a model.
 *
 * @param dtype the type of weights and activations, bf16 or fp32; null for bf16
 * @param maxContext positions to serve at most; 0 for what the model was made for
 * @param fingerprintCache file that remembers fingerprints of unchanged files; null computes anew each time
 * @param device where weights live
 */
public record ModelOptions(DType dtype, int maxContext, Path fingerprintCache, Device device) {

    public ModelOptions {
        dtype = dtype == null ? DType.BF16 : dtype;
        device = device == null ? Device.CPU : device;
        if (dtype != DType.BF16 && dtype != DType.FP32) {
            throw new IllegalArgumentException("a model is held in bf16 or fp32, not " + dtype);
        }
        if (maxContext < 0) {
            throw new IllegalArgumentException("maxContext is " + maxContext + "; 0 means the model's own, otherwise it is positive");
        }
    }

    public static ModelOptions of(DType dtype) {
        return new ModelOptions(dtype, 0, null, Device.CPU);
    }

    public static ModelOptions defaults() {
        return of(null);
    }
}
