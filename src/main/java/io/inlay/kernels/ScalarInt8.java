package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** {@link ScalarKernels}' linears over int8 weights. */
final class ScalarInt8 {

    private ScalarInt8() {
    }

    static void linear(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        Operands.linearInt8(x, w, tiles, y);
        Floats xs = Floats.of(x);
        Floats ys = Floats.of(y);
        for (int m = 0; m < x.dim(0); m++) {
            TileTable table = tiles == null ? null : tiles.get(m);
            for (int o = 0; o < y.dim(1); o++) {
                double bytes = 0;
                double blocks = 0;
                for (int k = 0; k < x.dim(1); k++) {
                    float input = xs.get(m * x.stride(0) + k);
                    Floats block = block(table, o, k, xs.bf16());
                    if (block == null) {
                        bytes += (double) input * value(w, o, k);
                    } else {
                        blocks += (double) input * block.get(0);
                    }
                }
                ys.set(m * y.stride(0) + o, (float) (scale(w, o) * bytes + blocks));
            }
        }
    }

    static void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        Operands.dequantise(w, tiles, out);
        Floats outs = Floats.of(out);
        for (int o = 0; o < out.dim(0); o++) {
            for (int k = 0; k < out.dim(1); k++) {
                Floats block = block(tiles, o, k, outs.bf16());
                outs.set(o * out.stride(0) + k, block == null ? scale(w, o) * value(w, o, k) : block.get(0));
            }
        }
    }

    private static byte value(Int8Weight w, int o, int k) {
        return w.values().segment().get(ValueLayout.JAVA_BYTE, o * w.values().stride(0) + k);
    }

    private static float scale(Int8Weight w, int o) {
        return w.scales().segment().getAtIndex(ValueLayout.JAVA_FLOAT, o);
    }

    /** The value in a block that stands in for weight (o, k), or null where the byte counts. */
    private static Floats block(TileTable tiles, int o, int k, boolean bf16) {
        long pointer = tiles == null ? 0 : tiles.pointer(o / tiles.edge(), k / tiles.edge());
        if (pointer == 0) {
            return null;
        }
        int bytes = tiles.elementBytes();
        long at = ((long) o % tiles.edge() * tiles.edge() + k % tiles.edge()) * bytes;
        return new Floats(MemorySegment.ofAddress(pointer + at).reinterpret(bytes), bf16);
    }
}
