package io.inlay.model;

import io.inlay.Problem;
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
 * @param form of the linears that answer
 */
public record ModelOptions(DType dtype, int maxContext, Path fingerprintCache, Device device, Form form) {

    /** In which form linears' weights are read when a model answers. Training reads them as they are in either. */
    public enum Form {
        /** As they are. */
        EXACT,
        /** As bytes with a scale for each output, half of bf16's memory, with a small loss: {@link Int8Linears}. */
        INT8
    }

    public ModelOptions {
        dtype = dtype == null ? DType.BF16 : dtype;
        device = device == null ? Device.CPU : device;
        form = form == null ? Form.EXACT : form;
        if (dtype != DType.BF16 && dtype != DType.FP32) {
            throw new IllegalArgumentException("a model is held in bf16 or fp32, not " + dtype);
        }
        if (form == Form.INT8 && !device.isCpu()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "int8 linears are served on the CPU only, and the device is " + device
                    + "; take the model out of inlay.models.int8 or set inlay.device=cpu");
        }
        if (maxContext < 0) {
            throw new IllegalArgumentException("maxContext is " + maxContext + "; 0 means the model's own, otherwise it is positive");
        }
    }

    /** With linears as they are. */
    public ModelOptions(DType dtype, int maxContext, Path fingerprintCache, Device device) {
        this(dtype, maxContext, fingerprintCache, device, Form.EXACT);
    }

    public ModelOptions with(Form other) {
        return new ModelOptions(dtype, maxContext, fingerprintCache, device, other);
    }

    public static ModelOptions of(DType dtype) {
        return new ModelOptions(dtype, 0, null, Device.CPU);
    }

    public static ModelOptions defaults() {
        return of(null);
    }
}
