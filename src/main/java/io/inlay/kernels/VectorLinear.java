package io.inlay.kernels;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link VectorKernels}' linear for few rows. A vector of 32-bit words holds pairs of bf16 weights: the even ones by a shift, the odd
 * ones by a mask, against x that was widened and split the same way once. fp32 takes one word per weight.
 *
 * <p>The chain of sums of an output: even and odd elements in one accumulator, step by step of k in ascending order; then the lanes by
 * halves; then the elements behind the last whole step one by one. It depends on K alone.
 */
final class VectorLinear {

    private static final int LANES = Lanes.FLOATS.length();
    private static final int TOGETHER = 4;

    private final MemorySegment weights;
    private final TileTable tiles;
    private final Tensor w;
    private final Tensor y;
    private final boolean bf16;
    private final int bytes;
    private final int inner;
    private final int step;
    private final int whole;
    private final float[][] even;
    private final float[][] odd;
    private final float[][] tail;

    VectorLinear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        this.weights = w.segment();
        this.tiles = tiles;
        this.w = w;
        this.y = y;
        this.bf16 = w.dtype() == DType.BF16;
        this.bytes = w.dtype().bytes();
        this.inner = x.dim(1);
        this.step = bf16 ? 2 * LANES : LANES;
        this.whole = inner / step * step;
        this.even = new float[x.dim(0)][];
        this.odd = new float[x.dim(0)][];
        this.tail = new float[x.dim(0)][];
        for (int m = 0; m < x.dim(0); m++) {
            float[] row = new float[inner];
            Lanes.load(x, m * x.stride(0), row, inner);
            tail[m] = Arrays.copyOfRange(row, whole, inner);
            even[m] = bf16 ? new float[whole / 2] : row;
            odd[m] = bf16 ? new float[whole / 2] : row;
            for (int k = 0; bf16 && k < whole; k += 2) {
                even[m][k / 2] = row[k];
                odd[m][k / 2] = row[k + 1];
            }
        }
    }

    /** Outputs [begin, end) for all rows of x. */
    void run(int begin, int end) {
        boolean together = tiles == null || tiles.edge() == inner || tiles.edge() % step == 0;
        if (together) {
            outputs(begin, end, null);
        } else {
            try (Arena arena = Arena.ofConfined()) {
                outputs(begin, end, arena.allocate((long) inner * bytes, 64));
            }
        }
    }

    /** @param gathered where rows are put together whose tiles a step does not divide, or null */
    private void outputs(int begin, int end, MemorySegment gathered) {
        int segment = tiles == null || gathered != null ? inner : tiles.edge();
        int lastStart = inner - segment;
        float[] sums = new float[TOGETHER];
        float[] weightTail = new float[inner - whole];
        for (int o = begin; o < end; o++) {
            if (gathered != null) {
                gather(o, gathered);
            }
            MemorySegment last = gathered != null ? gathered : row(o, lastStart);
            Lanes.load(last, bf16, whole - lastStart, weightTail, 0, inner - whole);
            int m = 0;
            for (; m + TOGETHER <= even.length; m += TOGETHER) {
                four(o, m, segment, gathered, sums);
                for (int i = 0; i < TOGETHER; i++) {
                    finish(sums[i], weightTail, o, m + i);
                }
            }
            for (; m < even.length; m++) {
                finish(one(o, m, segment, gathered), weightTail, o, m);
            }
        }
    }

    private void finish(float sum, float[] weightTail, int o, int m) {
        for (int k = 0; k < weightTail.length; k++) {
            sum = Math.fma(tail[m][k], weightTail[k], sum);
        }
        long at = m * y.stride(0) + o;
        if (y.dtype() == DType.BF16) {
            y.segment().set(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * at, BFloat16.fromFloat(sum));
        } else {
            y.segment().set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * at, sum);
        }
    }

    private float one(int o, int m, int segment, MemorySegment gathered) {
        FloatVector sum = FloatVector.zero(Lanes.FLOATS);
        float[] e = even[m];
        float[] d = odd[m];
        for (int start = 0; start < whole; start += segment) {
            MemorySegment memory = gathered != null ? gathered : row(o, start);
            int stop = Math.min(segment, whole - start);
            if (bf16) {
                for (int k = 0; k < stop; k += step) {
                    IntVector words = IntVector.fromMemorySegment(Lanes.INTS, memory, 2L * k, LITTLE_ENDIAN);
                    int at = (start + k) / 2;
                    sum = low(words).fma(FloatVector.fromArray(Lanes.FLOATS, e, at), sum);
                    sum = high(words).fma(FloatVector.fromArray(Lanes.FLOATS, d, at), sum);
                }
            } else {
                for (int k = 0; k < stop; k += step) {
                    FloatVector words = FloatVector.fromMemorySegment(Lanes.FLOATS, memory, 4L * k, LITTLE_ENDIAN);
                    sum = words.fma(FloatVector.fromArray(Lanes.FLOATS, e, start + k), sum);
                }
            }
        }
        return Lanes.add(sum);
    }

    /** As {@link #one} for four rows of x, which share each load of the weights. */
    private void four(int o, int m, int segment, MemorySegment gathered, float[] sums) {
        FloatVector a = FloatVector.zero(Lanes.FLOATS);
        FloatVector b = FloatVector.zero(Lanes.FLOATS);
        FloatVector c = FloatVector.zero(Lanes.FLOATS);
        FloatVector d = FloatVector.zero(Lanes.FLOATS);
        for (int start = 0; start < whole; start += segment) {
            MemorySegment memory = gathered != null ? gathered : row(o, start);
            int stop = Math.min(segment, whole - start);
            if (bf16) {
                for (int k = 0; k < stop; k += step) {
                    IntVector words = IntVector.fromMemorySegment(Lanes.INTS, memory, 2L * k, LITTLE_ENDIAN);
                    FloatVector low = low(words);
                    FloatVector high = high(words);
                    int at = (start + k) / 2;
                    a = high.fma(FloatVector.fromArray(Lanes.FLOATS, odd[m], at),
                            low.fma(FloatVector.fromArray(Lanes.FLOATS, even[m], at), a));
                    b = high.fma(FloatVector.fromArray(Lanes.FLOATS, odd[m + 1], at),
                            low.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 1], at), b));
                    c = high.fma(FloatVector.fromArray(Lanes.FLOATS, odd[m + 2], at),
                            low.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 2], at), c));
                    d = high.fma(FloatVector.fromArray(Lanes.FLOATS, odd[m + 3], at),
                            low.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 3], at), d));
                }
            } else {
                for (int k = 0; k < stop; k += step) {
                    FloatVector words = FloatVector.fromMemorySegment(Lanes.FLOATS, memory, 4L * k, LITTLE_ENDIAN);
                    a = words.fma(FloatVector.fromArray(Lanes.FLOATS, even[m], start + k), a);
                    b = words.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 1], start + k), b);
                    c = words.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 2], start + k), c);
                    d = words.fma(FloatVector.fromArray(Lanes.FLOATS, even[m + 3], start + k), d);
                }
            }
        }
        sums[0] = Lanes.add(a);
        sums[1] = Lanes.add(b);
        sums[2] = Lanes.add(c);
        sums[3] = Lanes.add(d);
    }

    private static FloatVector low(IntVector words) {
        return words.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }

    private static FloatVector high(IntVector words) {
        return words.and(0xFFFF0000).reinterpretAsFloats();
    }

    /** The weights of output {@code o} from input {@code start} on, the left side of a tile. */
    private MemorySegment row(int o, int start) {
        long pointer = tiles == null ? 0 : tiles.pointer(o / tiles.edge(), start / tiles.edge());
        if (pointer == 0) {
            return weights.asSlice((o * w.stride(0) + start) * bytes);
        }
        long rowBytes = (long) tiles.edge() * bytes;
        return MemorySegment.ofAddress(pointer + o % tiles.edge() * rowBytes).reinterpret(rowBytes);
    }

    private void gather(int o, MemorySegment to) {
        long rowBytes = (long) tiles.edge() * bytes;
        for (int start = 0; start < inner; start += tiles.edge()) {
            MemorySegment.copy(row(o, start), 0, to, (long) start * bytes, rowBytes);
        }
    }
}
