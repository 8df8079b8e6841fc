package io.inlay.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Owner of tensors: what is made in a scope is freed when it closes, in reverse order. Scopes nest by try-with-resources. Confined to
 * one thread at a time; not synchronized.
 */
public final class Scope implements AutoCloseable {

    private final Libtorch torch;
    private final String purpose;
    private final List<Tensor> owned = new ArrayList<>();
    private boolean closed;

    public Scope(Libtorch torch) {
        this(torch, "scratch");
    }

    /** @param purpose of what is made in it, for who finds a device full */
    public Scope(Libtorch torch, String purpose) {
        this.torch = torch;
        this.purpose = purpose;
    }

    public Libtorch torch() {
        return torch;
    }

    /** A contiguous tensor with undefined contents. */
    public Tensor empty(DType dtype, Device device, long... sizes) {
        for (long size : sizes) {
            if (size < 0) {
                throw new IllegalArgumentException("a tensor cannot have a dimension of " + size);
            }
        }
        long[] own = sizes.clone();
        long[] strides = Tensor.rowMajor(own);
        Tensor tensor = adopt(new Tensor(torch, torch.allocate(own, strides, dtype, device), dtype, device, own, strides));
        if (!device.isCpu()) {
            tensor.heldFor(purpose);
        }
        return tensor;
    }

    public Tensor zeros(DType dtype, Device device, long... sizes) {
        Tensor tensor = empty(dtype, device, sizes);
        torch.zero(tensor);
        return tensor;
    }

    public Tensor of(Device device, float[] values, long... sizes) {
        return filled(DType.FP32, device, MemorySegment.ofArray(values), sizes);
    }

    public Tensor of(Device device, int[] values, long... sizes) {
        return filled(DType.INT32, device, MemorySegment.ofArray(values), sizes);
    }

    public Tensor of(Device device, long[] values, long... sizes) {
        return filled(DType.INT64, device, MemorySegment.ofArray(values), sizes);
    }

    private Tensor filled(DType dtype, Device device, MemorySegment values, long[] sizes) {
        Tensor tensor = empty(dtype, device, sizes);
        if (tensor.bytes() != values.byteSize()) {
            throw new IllegalArgumentException(values.byteSize() / dtype.bytes() + " values do not fill " + tensor);
        }
        tensor.fill(values);
        return tensor;
    }

    /**
     * A tensor over memory that someone else owns, contiguous, on the CPU; no copy. The memory must outlive the scope. Read-only
     * mappings are fine as long as nothing writes to the tensor.
     */
    public Tensor wrap(MemorySegment memory, DType dtype, long... sizes) {
        long[] own = sizes.clone();
        long bytes = dtype.bytes();
        for (long size : own) {
            bytes = Math.multiplyExact(bytes, size);
        }
        if (!memory.isNative()) {
            throw new IllegalArgumentException("wrap needs native memory; copy a heap array with Scope.of");
        }
        if (memory.byteSize() < bytes) {
            throw new IllegalArgumentException("wrap of " + bytes + " bytes over memory of " + memory.byteSize());
        }
        long[] strides = Tensor.rowMajor(own);
        return adopt(new Tensor(torch, torch.fromBlob(memory, own, strides, dtype), dtype, Device.CPU, own, strides));
    }

    /** A contiguous copy with the given element type and device. */
    public Tensor copyTo(Tensor source, DType dtype, Device device) {
        Tensor copy = empty(dtype, device, source.sizes());
        torch.copy(copy, source);
        return copy;
    }

    /** The tensor itself where it is the CPU's and contiguous, else a contiguous copy there, whose {@link Tensor#segment} can be read. */
    public Tensor onHost(Tensor source) {
        return source.device().isCpu() && source.contiguous() ? source : copyTo(source, source.dtype(), Device.CPU);
    }

    /** A copy of the values as fp32, row-major, on the Java heap. */
    public static float[] floats(Libtorch torch, Tensor source) {
        try (Scope scope = new Scope(torch)) {
            return scope.copyTo(source, DType.FP32, Device.CPU).segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    Tensor adopt(Tensor tensor) {
        if (closed) {
            tensor.free();
            throw new IllegalStateException("the scope is closed; make tensors in an open one");
        }
        owned.add(tensor);
        return tensor;
    }

    /** Frees one tensor of this scope ahead of the others, for large intermediates. */
    public void free(Tensor tensor) {
        for (int i = owned.size() - 1; i >= 0; i--) {
            if (owned.get(i) == tensor) {
                owned.remove(i);
                tensor.free();
                return;
            }
        }
        throw new IllegalArgumentException("the scope does not own " + tensor);
    }

    /** Hands a tensor of this scope to another, which then frees it. */
    public Tensor release(Tensor tensor, Scope to) {
        if (!owned.remove(tensor)) {
            throw new IllegalArgumentException("the scope does not own " + tensor);
        }
        return to.adopt(tensor);
    }

    @Override
    public void close() {
        closed = true;
        for (int i = owned.size() - 1; i >= 0; i--) {
            owned.get(i).free();
        }
        owned.clear();
    }
}
