package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A linear's weight in bytes, with one scale for each output: {@code w[o, k]} is {@code scales[o] values[o, k]}.
 *
 * @param values int8 [O, K], -127 to 127
 * @param scales fp32 [O], the largest magnitude of the output's weights by 127
 */
public record Int8Weight(Tensor values, Tensor scales) {

    private static final float LARGEST = 127;

    /** Added and subtracted again, it rounds a float below 2^22 to the nearest whole number, ties to even. */
    private static final float ROUNDER = 0x1.8p23f;

    public Int8Weight {
        if (values.dtype() != DType.INT8 || values.rank() != 2 || !values.rowsDense() || !values.device().isCpu()) {
            throw new IllegalArgumentException("the values of an int8 weight are int8 [O, K] on the cpu with dense rows, not " + values);
        }
        if (scales.dtype() != DType.FP32 || !scales.hasSizes(values.size(0)) || !scales.contiguous() || !scales.device().isCpu()) {
            throw new IllegalArgumentException("the scales of an int8 weight are fp32 [O] on the cpu, not " + scales + " for " + values);
        }
    }

    /**
     * The nearest to a weight bf16 or fp32 [O, K]: {@code values[o, k] = round(w[o, k] / scales[o])}, ties to even.
     *
     * @throws IllegalArgumentException when a value is not finite
     */
    public static Int8Weight of(Tensor w, Scope scope) {
        Operands.quantised(w);
        Tensor values = scope.empty(DType.INT8, Device.CPU, w.sizes());
        Tensor scales = scope.empty(DType.FP32, Device.CPU, w.size(0));
        Floats from = Floats.of(w);
        new Cores(CpuKernels.threads()).forEach(w.dim(0), w.elements(), (begin, end) -> {
            float[] row = new float[w.dim(1)];
            byte[] bytes = new byte[row.length];
            for (int o = begin; o < end; o++) {
                from.load(o * w.stride(0), row);
                scales.segment().setAtIndex(ValueLayout.JAVA_FLOAT, o, quantise(row, bytes));
                MemorySegment.copy(bytes, 0, values.segment(), ValueLayout.JAVA_BYTE, (long) o * bytes.length, bytes.length);
            }
        });
        for (int o = 0; o < w.dim(0); o++) {
            if (!Float.isFinite(scales.segment().getAtIndex(ValueLayout.JAVA_FLOAT, o))) {
                throw new IllegalArgumentException("row " + o + " of " + w + " has a value that is not finite, so it has no int8 form");
            }
        }
        return new Int8Weight(values, scales);
    }

    /** The scale of a row, which is not finite where a value of the row is not. */
    private static float quantise(float[] row, byte[] bytes) {
        int top = 0;
        for (float value : row) {
            top = Math.max(top, Float.floatToRawIntBits(value) & 0x7FFFFFFF);
        }
        float scale = Float.intBitsToFloat(top) / LARGEST;
        for (int k = 0; k < row.length; k++) {
            float steps = scale == 0 ? 0 : Math.max(-LARGEST, Math.min(LARGEST, row[k] / scale));
            bytes[k] = (byte) (steps + ROUNDER - ROUNDER);
        }
        return scale;
    }

    public long bytes() {
        return values.bytes() + scales.bytes();
    }
}
