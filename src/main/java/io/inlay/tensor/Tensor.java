package io.inlay.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * A handle on libtorch's {@code at::Tensor}: sizes and strides in elements, one element type, one device. Several tensors may view the
 * same bytes. A tensor lives until its {@link Scope} closes; using it later is refused, never a dead JVM.
 */
public final class Tensor {

    private final Libtorch torch;
    private final DType dtype;
    private final Device device;
    private final long[] sizes;
    private final long[] strides;
    private MemorySegment handle;
    private MemorySegment data;
    private long address;
    /** What its own memory is for, where {@link Holdings} counts it. */
    private String purpose;

    Tensor(Libtorch torch, MemorySegment handle, DType dtype, Device device, long[] sizes, long[] strides) {
        this.torch = torch;
        this.handle = handle;
        this.dtype = dtype;
        this.device = device;
        this.sizes = sizes;
        this.strides = strides;
    }

    /** The library that made it. */
    public Libtorch torch() {
        return torch;
    }

    public DType dtype() {
        return dtype;
    }

    public Device device() {
        return device;
    }

    public int rank() {
        return sizes.length;
    }

    /** Elements along {@code dimension}; negative counts from the end. */
    public long size(int dimension) {
        return sizes[axis(dimension)];
    }

    /** {@link #size} as an int, for loops; refuses what does not fit. */
    public int dim(int dimension) {
        return Math.toIntExact(size(dimension));
    }

    public long stride(int dimension) {
        return strides[axis(dimension)];
    }

    public long[] sizes() {
        return sizes.clone();
    }

    /** Whether the sizes are these; unlike {@link #sizes()} it copies nothing. */
    public boolean hasSizes(long... expected) {
        return Arrays.equals(sizes, expected);
    }

    public long[] strides() {
        return strides.clone();
    }

    public long elements() {
        long count = 1;
        for (long size : sizes) {
            count *= size;
        }
        return count;
    }

    public long bytes() {
        return elements() * dtype.bytes();
    }

    /** Whether elements lie row-major without gaps. */
    public boolean contiguous() {
        long expected = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            if (sizes[i] != 1 && strides[i] != expected) {
                return false;
            }
            expected *= sizes[i];
        }
        return true;
    }

    /** Whether the last dimension is dense, which is what row-wise kernels ask for. */
    public boolean rowsDense() {
        return sizes.length == 0 || sizes[sizes.length - 1] == 1 || strides[sizes.length - 1] == 1;
    }

    /**
     * The first element onward, as memory, readable and writable up to the last element that the strides reach. Valid as long as the
     * tensor. Of the CPU's tensors only: memory of another device is no memory of this process.
     */
    public MemorySegment segment() {
        requireOpen();
        if (data == null) {
            if (!device.isCpu()) {
                throw new IllegalStateException("the memory of " + this + " is not the host's; read a copy (Scope.onHost), write with "
                        + "Tensor.fill, or hand its address to a kernel of " + device);
            }
            long span = elements() == 0 ? 0 : 1;
            for (int i = 0; span > 0 && i < sizes.length; i++) {
                span += (sizes[i] - 1) * strides[i];
            }
            data = torch.dataPointer(handle).reinterpret(span * dtype.bytes());
        }
        return data;
    }

    /** Where the first element lies, in the memory of its device. */
    public long address() {
        if (device.isCpu()) {
            return segment().address();
        }
        requireOpen();
        if (address == 0) {
            address = torch.dataPointer(handle).address();
        }
        return address;
    }

    /** Writes all elements, row-major, from the host's memory; the tensor must be contiguous. */
    public void fill(MemorySegment values) {
        if (!contiguous() || values.byteSize() != bytes()) {
            throw new IllegalArgumentException(values.byteSize() + " bytes do not fill " + this);
        }
        if (device.isCpu()) {
            segment().copyFrom(values);
            return;
        }
        try (Scope scope = new Scope(torch)) {
            Tensor host = scope.empty(dtype, Device.CPU, sizes);
            host.segment().copyFrom(values);
            torch.copy(this, host);
        }
    }

    // ---- views: no bytes move ----

    /** Elements {@code [start, start + length)} along {@code dimension}. */
    public Tensor narrow(Scope scope, int dimension, long start, long length) {
        int axis = axis(dimension);
        if (start < 0 || length < 0 || start + length > sizes[axis]) {
            throw new IllegalArgumentException("narrow of dimension " + axis + " to [" + start + ", " + (start + length) + ") leaves " + this);
        }
        long[] size = sizes.clone();
        size[axis] = length;
        return view(scope, size, strides.clone(), start * strides[axis]);
    }

    public Tensor transpose(Scope scope, int first, int second) {
        long[] size = sizes.clone();
        long[] stride = strides.clone();
        int a = axis(first);
        int b = axis(second);
        size[a] = sizes[b];
        size[b] = sizes[a];
        stride[a] = strides[b];
        stride[b] = strides[a];
        return view(scope, size, stride, 0);
    }

    /** The same elements under other sizes; the tensor must be contiguous. */
    public Tensor reshape(Scope scope, long... size) {
        if (!contiguous()) {
            throw new IllegalArgumentException("reshape needs a contiguous tensor, not " + this + "; copy it first");
        }
        long count = 1;
        for (long s : size) {
            count *= s;
        }
        if (count != elements()) {
            throw new IllegalArgumentException("reshape of " + this + " to " + Arrays.toString(size) + " changes the number of elements");
        }
        return view(scope, size.clone(), rowMajor(size), 0);
    }

    /** Any sizes and strides over the same bytes, {@code offset} elements from the first; checked to stay inside. */
    public Tensor strided(Scope scope, long[] size, long[] stride, long offset) {
        return view(scope, size.clone(), stride.clone(), offset);
    }

    private Tensor view(Scope scope, long[] size, long[] stride, long offset) {
        requireOpen();
        long reach = offset;
        boolean empty = false;
        for (int i = 0; i < size.length; i++) {
            empty |= size[i] == 0;
            if (size[i] < 0 || stride[i] < 0) {
                throw new IllegalArgumentException("view " + Arrays.toString(size) + " strides " + Arrays.toString(stride) + " is negative");
            }
            reach += (size[i] - 1) * stride[i];
        }
        long here = 0;
        for (int i = 0; i < sizes.length; i++) {
            here += (sizes[i] - 1) * strides[i];
        }
        if (offset < 0 || (!empty && reach > here)) {
            throw new IllegalArgumentException("view " + Arrays.toString(size) + " strides " + Arrays.toString(stride) + " offset " + offset
                    + " leaves " + this);
        }
        return scope.adopt(new Tensor(torch, torch.view(handle, size, stride, offset), dtype, device, size, stride));
    }

    // ---- lifetime ----

    MemorySegment handle() {
        requireOpen();
        return handle;
    }

    private void requireOpen() {
        if (handle == null) {
            throw new IllegalStateException("tensor " + this + " was used after its scope had closed");
        }
    }

    void heldFor(String what) {
        purpose = what;
        torch.devices().holdings().add(device, what, bytes());
    }

    void free() {
        MemorySegment open = handle;
        handle = null;
        data = null;
        address = 0;
        if (open != null) {
            torch.delete(open);
            if (purpose != null) {
                torch.devices().holdings().add(device, purpose, -bytes());
            }
        }
    }

    private int axis(int dimension) {
        int axis = dimension < 0 ? sizes.length + dimension : dimension;
        if (axis < 0 || axis >= sizes.length) {
            throw new IllegalArgumentException("dimension " + dimension + " is not one of " + this);
        }
        return axis;
    }

    static long[] rowMajor(long[] sizes) {
        long[] strides = new long[sizes.length];
        long stride = 1;
        for (int i = sizes.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= Math.max(1, sizes[i]);
        }
        return strides;
    }

    /** For messages: {@code bf16[4, 256] cpu}. */
    @Override
    public String toString() {
        return dtype + Arrays.toString(sizes) + (contiguous() ? "" : " strides " + Arrays.toString(strides)) + " " + device;
    }
}
