package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.util.Arrays;

/**
 * libtorch's operations on {@link Tensor}s. Every argument is checked here, with shapes and types in the message, before libtorch sees
 * it. One instance serves all threads.
 *
 * <p>Legend: B batch, H heads, T query positions, S key positions, D head dimension.
 */
public final class Libtorch {

    private final LibtorchFunctions functions;
    private final LibtorchLibrary library;
    private final Devices devices;
    private volatile Profile profile;

    private Libtorch(LibtorchLibrary library, Devices devices) {
        this.library = library;
        this.functions = LibtorchFunctions.bind(library.symbols());
        this.devices = devices;
    }

    /** Finds and loads libtorch; see {@link LibtorchLibrary} for where it looks. Slow on the first call of a machine (unpacking). */
    public static Libtorch load() {
        LibtorchLibrary library = LibtorchLibrary.load();
        return new Libtorch(library, new Devices(Cuda.of(library, CudaDriver.FILE), new LinuxMemory(), false));
    }

    /**
     * Another one over the same library, for tests, whose CUDA devices are the host's memory under another name: operations on them compute
     * on the CPU, and all that Inlay asks of a device that is not the CPU holds, {@link Tensor#segment}'s refusal above all.
     */
    Libtorch withHostAsCuda(Cuda cuda, FreeMemory memory) {
        return new Libtorch(library, new Devices(cuda, memory, true));
    }

    /** What it computes on. */
    public Devices devices() {
        return devices;
    }

    /** Where libtorch came from, for logs. */
    public String description() {
        return library.description();
    }

    /** Writes every operation's time into the profile from now on; null ends that. Costs nothing while there is none. */
    public void profiledBy(Profile measured) {
        profile = measured;
    }

    private void record(String operation, long start, long operations, Tensor... operands) {
        Profile measured = profile;
        if (measured != null) {
            measured.add(operation, start, operations, operands);
        }
    }

    private void recordProduct(String name, long start, Tensor out, Tensor a, Tensor b) {
        if (profile != null) {
            record(name + " " + a.size(0) + " x " + a.size(1) + " x " + b.size(1), start, 2 * a.size(0) * a.size(1) * b.size(1), out, a, b);
        }
    }

    private long start() {
        return profile == null ? 0 : System.nanoTime();
    }

    // ---- allocation, used by Scope and Tensor ----

    MemorySegment allocate(long[] sizes, long[] strides, DType dtype, Device device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            Device place = devices.place(device);
            if (functions.emptyStrided(sizes.length, longs(arena, sizes), longs(arena, strides), dtype.torch(), place.torchType(),
                    place.index(), result) != 0) {
                throw devices.refused(dtype, sizes, device);
            }
            return result.get(ADDRESS, 0);
        }
    }

    MemorySegment fromBlob(MemorySegment memory, long[] sizes, long[] strides, DType dtype) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            check(functions.fromBlob(memory, sizes.length, longs(arena, sizes), longs(arena, strides), dtype.torch(), result),
                    "wrap as " + dtype + Arrays.toString(sizes));
            return result.get(ADDRESS, 0);
        }
    }

    MemorySegment view(MemorySegment handle, long[] sizes, long[] strides, long offset) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            check(functions.reinterpret(handle, sizes.length, longs(arena, sizes), longs(arena, strides), offset, result),
                    "view as " + Arrays.toString(sizes));
            return result.get(ADDRESS, 0);
        }
    }

    MemorySegment dataPointer(MemorySegment handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(ADDRESS);
            check(functions.dataPointer(handle, result), "data pointer");
            return result.get(ADDRESS, 0);
        }
    }

    void delete(MemorySegment handle) {
        check(functions.delete(handle), "delete");
    }

    // ---- operations ----

    /** {@code target = source}, converting the element type and device; same sizes. */
    public void copy(Tensor target, Tensor source) {
        require(Arrays.equals(target.sizes(), source.sizes()), "copy", target, source);
        long start = start();
        check(functions.copy(target.handle(), source.handle()), "copy", target, source);
        record("copy", start, 0, target, source);
    }

    public void zero(Tensor target) {
        long start = start();
        check(functions.zero(target.handle()), "zero", target);
        record("zero", start, 0, target);
    }

    /** {@code out[m, n] = a[m, k] b[k, n]}; transposed views are fine as operands. fp32 accumulation for bf16. */
    public void mm(Tensor out, Tensor a, Tensor b) {
        requireProduct("mm", out, a, b);
        if (out.elements() == 0) {
            return;
        }
        if (a.size(1) == 0) {
            zero(out);
            return;
        }
        long start = start();
        check(product(out, a, b), "mm", out, a, b);
        recordProduct("mm", start, out, a, b);
    }

    /** {@code out[m, n] = beta out + alpha a[m, k] b[k, n]}, in place. */
    public void addmm(Tensor out, Tensor a, Tensor b, double beta, double alpha) {
        requireProduct("addmm", out, a, b);
        if (out.elements() == 0) {
            return;
        }
        long start = start();
        check(sum(out, a, b, beta, alpha), "addmm", out, a, b);
        recordProduct("addmm", start, out, a, b);
    }

    private int product(Tensor out, Tensor a, Tensor b) {
        return devices.place(out.device()).isCpu() ? functions.mm(out.handle(), a.handle(), b.handle())
                : LibtorchFunctions.mm(Cuda.require(devices.cuda(), out.device()).mm(), out.handle(), a.handle(), b.handle());
    }

    private int sum(Tensor out, Tensor a, Tensor b, double beta, double alpha) {
        return devices.place(out.device()).isCpu() ? functions.addmm(out.handle(), out.handle(), a.handle(), b.handle(), beta, alpha)
                : LibtorchFunctions.addmm(Cuda.require(devices.cuda(), out.device()).addmm(), out.handle(), out.handle(), a.handle(),
                        b.handle(), beta, alpha);
    }

    /** {@code target[index[n]] = source[n]}: target [T, K], source [N, K] of its type, contiguous, index int64 [N], none twice. */
    public void scatterRows(Tensor target, Tensor index, Tensor source) {
        require(index.dtype() == DType.INT64 && index.contiguous() && index.hasSizes(source.size(0)) && target.rank() == 2
                && target.contiguous() && source.contiguous() && target.dtype() == source.dtype()
                && source.hasSizes(index.size(0), target.size(1)), "scatter of rows", target, index, source);
        require(index.device().equals(target.device()) && source.device().equals(target.device()), "scatter of rows", target, index,
                source);
        long start = start();
        if (target.device().isCpu()) {
            // On the CPU index_copy_ goes element by element.
            long row = source.size(1) * source.dtype().bytes();
            for (long n = 0; n < source.size(0); n++) {
                MemorySegment.copy(source.segment(), n * row, target.segment(), index.segment().getAtIndex(JAVA_LONG, n) * row, row);
            }
        } else {
            dispatch("aten::index_copy_", target, 0, index, source);
        }
        record("scatter of rows", start, 0, target, source);
    }

    /** Calls an operator that returns its first argument by name; arguments are tensors and ints. */
    private void dispatch(String operator, Object... arguments) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment stack = arena.allocate(JAVA_LONG, arguments.length);
            MemorySegment cell = arena.allocate(ADDRESS);
            for (int i = 0; i < arguments.length; i++) {
                long slot = switch (arguments[i]) {
                    case Tensor tensor -> {
                        // The dispatcher consumes handles, so it is given ones of its own.
                        check(functions.ownHandle(tensor.handle(), cell), "handle", tensor);
                        yield cell.get(ADDRESS, 0).address();
                    }
                    case Integer number -> number;
                    default -> throw new IllegalArgumentException("an operator takes tensors and ints, not " + arguments[i]);
                };
                stack.setAtIndex(JAVA_LONG, i, slot);
            }
            check(functions.dispatch(arena.allocateFrom(operator), arena.allocateFrom(""), stack), operator,
                    Arrays.stream(arguments).filter(Tensor.class::isInstance).toArray(Tensor[]::new));
            delete(MemorySegment.ofAddress(stack.getAtIndex(JAVA_LONG, 0)));
        }
    }

    private static void requireProduct(String name, Tensor out, Tensor a, Tensor b) {
        require(out.rank() == 2 && a.rank() == 2 && b.rank() == 2 && a.size(0) == out.size(0) && b.size(1) == out.size(1)
                && a.size(1) == b.size(0), name, out, a, b);
        require(a.dtype() == out.dtype() && b.dtype() == out.dtype() && out.dtype().floating(), name, out, a, b);
        require(a.device().equals(out.device()) && b.device().equals(out.device()), name, out, a, b);
    }

    /** What attention returns: {@code out} [B, H, T, D] (stored as [B, T, H, D]) and the log of the softmax's denominator [B, H, T] fp32. */
    public record Attention(Tensor out, Tensor logSumExp) {
    }

    /** Gradients of attention in the shapes of their operands. */
    public record AttentionGradients(Tensor query, Tensor key, Tensor value) {
    }

    /**
     * Softmax attention, flash style: {@code query} [B, H, T, D], {@code key} and {@code value} [B, H, S, D], last dimension dense.
     * {@code causal} masks keys after the query's own position, counted from the first key, and needs T == S. Results belong to
     * {@code scope}. Grouped heads: pass strided views with stride 0 along the group.
     */
    public Attention attention(Scope scope, Tensor query, Tensor key, Tensor value, boolean causal, double scale) {
        requireAttention("attention", query, key, value, causal);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(ADDRESS);
            MemorySegment logSumExp = arena.allocate(ADDRESS);
            MemorySegment scaleCell = arena.allocateFrom(java.lang.foreign.ValueLayout.JAVA_DOUBLE, scale);
            long start = start();
            check(functions.attention(query.handle(), key.handle(), value.handle(), causal, scaleCell, out, logSumExp), "attention", query,
                    key, value);
            record("attention", start, 4 * query.elements() * key.size(2), query, key, value, query);
            return new Attention(adopt(scope, out, query), adopt(scope, logSumExp, query));
        }
    }

    /** Backward of {@link #attention}, given what it returned. */
    public AttentionGradients attentionBackward(Scope scope, Tensor gradient, Tensor query, Tensor key, Tensor value, Attention forward,
            boolean causal, double scale) {
        requireAttention("attention backward", query, key, value, causal);
        require(Arrays.equals(gradient.sizes(), query.sizes()) && gradient.dtype() == query.dtype(), "attention backward", gradient, query);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment dQuery = arena.allocate(ADDRESS);
            MemorySegment dKey = arena.allocate(ADDRESS);
            MemorySegment dValue = arena.allocate(ADDRESS);
            MemorySegment scaleCell = arena.allocateFrom(java.lang.foreign.ValueLayout.JAVA_DOUBLE, scale);
            long start = start();
            check(functions.attentionBackward(gradient.handle(), query.handle(), key.handle(), value.handle(), forward.out().handle(),
                    forward.logSumExp().handle(), causal, scaleCell, dQuery, dKey, dValue), "attention backward", query, key, value);
            record("attention backward", start, 10 * query.elements() * key.size(2), gradient, query, key, value, query, key, value);
            return new AttentionGradients(adopt(scope, dQuery, query), adopt(scope, dKey, query), adopt(scope, dValue, query));
        }
    }

    private static void requireAttention(String name, Tensor query, Tensor key, Tensor value, boolean causal) {
        // On other devices attention is the kernels': there libtorch's function has another shape.
        require(query.device().isCpu(), name, query);
        require(query.rank() == 4 && key.rank() == 4 && Arrays.equals(key.sizes(), value.sizes()), name, query, key, value);
        require(key.size(0) == query.size(0) && key.size(1) == query.size(1) && key.size(3) == query.size(3), name, query, key, value);
        require(query.dtype() == key.dtype() && key.dtype() == value.dtype() && query.dtype().floating(), name, query, key, value);
        require(query.rowsDense() && key.rowsDense() && value.rowsDense() && query.elements() > 0 && key.elements() > 0, name, query, key,
                value);
        require(!causal || query.size(2) == key.size(2), name + " with a causal mask", query, key, value);
    }

    /** Takes ownership of a handle that libtorch returned, with the shape it has. */
    private Tensor adopt(Scope scope, MemorySegment cell, Tensor like) {
        MemorySegment handle = cell.get(ADDRESS, 0);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment scratch = arena.allocate(JAVA_LONG);
            check(functions.rank(handle, scratch), "rank");
            int rank = (int) scratch.get(JAVA_LONG, 0);
            MemorySegment pointer = arena.allocate(ADDRESS);
            check(functions.sizes(handle, pointer), "sizes");
            long[] sizes = pointer.get(ADDRESS, 0).reinterpret(8L * rank).toArray(JAVA_LONG);
            check(functions.strides(handle, pointer), "strides");
            long[] strides = pointer.get(ADDRESS, 0).reinterpret(8L * rank).toArray(JAVA_LONG);
            check(functions.dtype(handle, scratch), "dtype");
            int code = scratch.get(java.lang.foreign.ValueLayout.JAVA_INT, 0);
            for (DType dtype : DType.values()) {
                if (dtype.torch() == code) {
                    return scope.adopt(new Tensor(this, handle, dtype, like.device(), sizes, strides));
                }
            }
            throw new IllegalStateException("libtorch returned an element type that Inlay does not use: " + code);
        }
    }

    private static MemorySegment longs(SegmentAllocator arena, long[] values) {
        return values.length == 0 ? MemorySegment.NULL : arena.allocateFrom(JAVA_LONG, values);
    }

    private static void require(boolean holds, String operation, Tensor... operands) {
        if (!holds) {
            throw new IllegalArgumentException(operation + " does not fit its operands: " + Arrays.toString(operands));
        }
    }

    private static void check(int status, String operation, Tensor... operands) {
        if (status != 0) {
            throw new IllegalStateException("libtorch refused " + operation + " of " + Arrays.toString(operands)
                    + "; its reason is on the standard error stream");
        }
    }
}
