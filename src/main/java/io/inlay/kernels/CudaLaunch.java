package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * One launch of a kernel of kernels/*.cu: its name, geometry and arguments, which are added in the order and the types of its declaration.
 */
public final class CudaLaunch {

    /** CUDA's bound on the second and third dimension of a grid. */
    static final int MOST_ROWS = 65535;

    /** Threads of a block at most, and elements that a thread takes at a time, in what goes over rows (kernels/inlay.cuh, read8). */
    static final int THREADS = 256;
    static final int PIECE = 8;

    private static final int WARP = 32;

    private final String kernel;
    private final int[] geometry = {1, 1, 1, 1, 1, 1};
    private int sharedBytes;
    private long[] values = new long[16];
    private byte[] sizes = new byte[16];
    private int count;

    private CudaLaunch(String kernel) {
        this.kernel = kernel;
    }

    static CudaLaunch of(String kernel) {
        return new CudaLaunch(kernel);
    }

    /** The entry of {@code kernel} for this type of elements: {@code add_bf16}, {@code add_f32}. */
    static CudaLaunch of(String kernel, Tensor... typed) {
        StringBuilder name = new StringBuilder(kernel);
        for (Tensor tensor : typed) {
            name.append(tensor.dtype() == DType.BF16 ? "_bf16" : "_f32");
        }
        return new CudaLaunch(name.toString());
    }

    /** A launch over a matrix, a piece of a row for each thread; rows that no grid has are for the kernel to loop over. */
    static CudaLaunch overRows(String kernel, long rows, long columns, Tensor... typed) {
        int threads = threads(columns);
        return of(kernel, typed).grid(Math.ceilDiv(columns, threads * PIECE), Math.min(rows, MOST_ROWS), 1).block(threads);
    }

    /** Whole warps, as many as a row has use for. */
    static int threads(long columns) {
        return (int) Math.min(THREADS, Math.ceilDiv(columns, PIECE * WARP) * WARP);
    }

    CudaLaunch grid(long x, long y, long z) {
        geometry[0] = Math.toIntExact(x);
        geometry[1] = Math.toIntExact(y);
        geometry[2] = Math.toIntExact(z);
        return this;
    }

    CudaLaunch grid(long x) {
        return grid(x, 1, 1);
    }

    CudaLaunch block(int x, int y, int z) {
        geometry[3] = x;
        geometry[4] = y;
        geometry[5] = z;
        return this;
    }

    CudaLaunch block(int x) {
        return block(x, 1, 1);
    }

    /** Bytes of dynamic shared memory. */
    CudaLaunch shared(int bytes) {
        sharedBytes = bytes;
        return this;
    }

    // ---- arguments ----

    /** A pointer to the first element; null for no tensor. */
    CudaLaunch tensor(Tensor tensor) {
        return address(tensor == null ? 0 : tensor.address());
    }

    /** A pointer to the first element of a matrix with dense rows, and a {@code long long}: the elements from a row to the next. */
    CudaLaunch matrix(Tensor tensor) {
        return tensor(tensor).number(tensor.stride(0));
    }

    CudaLaunch address(long address) {
        return argument(address, 8);
    }

    /** A {@code long long}. */
    CudaLaunch number(long value) {
        return argument(value, 8);
    }

    /** An {@code int}. */
    CudaLaunch integer(int value) {
        return argument(value, 4);
    }

    CudaLaunch real(float value) {
        return argument(Float.floatToRawIntBits(value), 4);
    }

    CudaLaunch real(double value) {
        return argument(Double.doubleToRawLongBits(value), 8);
    }

    private CudaLaunch argument(long bits, int bytes) {
        if (count == values.length) {
            values = Arrays.copyOf(values, 2 * count);
            sizes = Arrays.copyOf(sizes, 2 * count);
        }
        values[count] = bits;
        sizes[count++] = (byte) bytes;
        return this;
    }

    /** Whether it launches the same with the same arguments, but for what lies in memory. */
    @Override
    public boolean equals(Object other) {
        return other instanceof CudaLaunch that && kernel.equals(that.kernel) && sharedBytes == that.sharedBytes
                && Arrays.equals(geometry, that.geometry) && Arrays.equals(values, 0, count, that.values, 0, that.count)
                && Arrays.equals(sizes, 0, count, that.sizes, 0, that.count);
    }

    @Override
    public int hashCode() {
        int hash = 31 * kernel.hashCode() + Arrays.hashCode(geometry);
        for (int i = 0; i < count; i++) {
            hash = 31 * hash + Long.hashCode(values[i]);
        }
        return hash;
    }

    /** Launches unless there is nothing to do. It is not to be changed after that. */
    void on(CudaLauncher launcher) {
        if (geometry[0] > 0 && geometry[1] > 0 && geometry[2] > 0) {
            launcher.launch(this);
        }
    }

    // ---- for launchers ----

    public String kernel() {
        return kernel;
    }

    /** Blocks by x, y, z, then threads of a block by x, y, z. */
    public int geometry(int dimension) {
        return geometry[dimension];
    }

    public int sharedBytes() {
        return sharedBytes;
    }

    /** Bytes of each argument. */
    byte[] argumentBytes() {
        return Arrays.copyOf(sizes, count);
    }

    /** The arguments in memory, and what CUDA asks for: an array of their addresses. Little-endian, as all that CUDA runs on. */
    MemorySegment parameters(Arena arena) {
        MemorySegment slots = arena.allocate(ValueLayout.JAVA_LONG, 2L * count + 1);
        for (int i = 0; i < count; i++) {
            slots.setAtIndex(ValueLayout.JAVA_LONG, i, values[i]);
            slots.setAtIndex(ValueLayout.JAVA_LONG, count + i, slots.address() + 8L * i);
        }
        return slots.asSlice(8L * count);
    }
}
