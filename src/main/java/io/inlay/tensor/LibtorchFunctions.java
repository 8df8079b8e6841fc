package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * The functions of libtorch's C ABI (torch/csrc/inductor/aoti_torch/c/shim.h) that Inlay calls, as method handles. Each returns 0 for
 * success. A symbol that is missing is reported by name, at load.
 */
record LibtorchFunctions(MethodHandle emptyStrided, MethodHandle fromBlob, MethodHandle reinterpret, MethodHandle dataPointer,
        MethodHandle delete, MethodHandle copy, MethodHandle zero, MethodHandle mm, MethodHandle addmm, MethodHandle attention,
        MethodHandle attentionBackward, MethodHandle rank, MethodHandle sizes, MethodHandle strides, MethodHandle dtype,
        MethodHandle ownHandle, MethodHandle dispatch) {

    private static final ValueLayout.OfInt I32 = JAVA_INT;
    private static final ValueLayout.OfLong I64 = JAVA_LONG;
    private static final MemoryLayout PTR = ADDRESS;

    static LibtorchFunctions bind(SymbolLookup symbols) {
        return new LibtorchFunctions(
                handle(symbols, "aoti_torch_empty_strided", I64, PTR, PTR, I32, I32, I32, PTR),
                handle(symbols, "aoti_torch_create_tensor_from_blob", PTR, I64, PTR, PTR, I64, I32, I32, I32, PTR),
                handle(symbols, "aoti_torch__reinterpret_tensor", PTR, I64, PTR, PTR, I64, PTR),
                handle(symbols, "aoti_torch_get_data_ptr", PTR, PTR),
                handle(symbols, "aoti_torch_delete_tensor_object", PTR),
                handle(symbols, "aoti_torch_copy_", PTR, PTR, I32),
                handle(symbols, "aoti_torch_zero_", PTR),
                handle(symbols, "aoti_torch_cpu_mm_out", PTR, PTR, PTR),
                handle(symbols, "aoti_torch_cpu_addmm_out", PTR, PTR, PTR, PTR, JAVA_DOUBLE, JAVA_DOUBLE),
                handle(symbols, "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu", PTR, PTR, PTR, JAVA_DOUBLE, I32, PTR, PTR,
                        PTR, PTR),
                handle(symbols, "aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward", PTR, PTR, PTR, PTR, PTR, PTR,
                        JAVA_DOUBLE, I32, PTR, PTR, PTR, PTR, PTR),
                handle(symbols, "aoti_torch_get_dim", PTR, PTR),
                handle(symbols, "aoti_torch_get_sizes", PTR, PTR),
                handle(symbols, "aoti_torch_get_strides", PTR, PTR),
                handle(symbols, "aoti_torch_get_dtype", PTR, PTR),
                handle(symbols, "aoti_torch_new_tensor_handle", PTR, PTR),
                handle(symbols, "aoti_torch_call_dispatcher", PTR, PTR, PTR));
    }

    private static MethodHandle handle(SymbolLookup symbols, String name, MemoryLayout... arguments) {
        MemorySegment symbol = symbols.find(name).orElseThrow(() -> new IllegalStateException(
                "libtorch has no symbol " + name + "; Inlay needs libtorch 2.7 or newer"));
        return Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(I32, arguments));
    }

    int emptyStrided(long rank, MemorySegment sizes, MemorySegment strides, int dtype, int deviceType, int deviceIndex,
            MemorySegment result) {
        try {
            return (int) emptyStrided.invokeExact(rank, sizes, strides, dtype, deviceType, deviceIndex, result);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int fromBlob(MemorySegment memory, long rank, MemorySegment sizes, MemorySegment strides, int dtype, MemorySegment result) {
        try {
            return (int) fromBlob.invokeExact(memory, rank, sizes, strides, 0L, dtype, Device.CPU.torchType(), 0, result);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int reinterpret(MemorySegment tensor, long rank, MemorySegment sizes, MemorySegment strides, long offset, MemorySegment result) {
        try {
            return (int) reinterpret.invokeExact(tensor, rank, sizes, strides, offset, result);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int dataPointer(MemorySegment tensor, MemorySegment result) {
        return two(dataPointer, tensor, result);
    }

    int rank(MemorySegment tensor, MemorySegment result) {
        return two(rank, tensor, result);
    }

    int sizes(MemorySegment tensor, MemorySegment result) {
        return two(sizes, tensor, result);
    }

    int strides(MemorySegment tensor, MemorySegment result) {
        return two(strides, tensor, result);
    }

    int dtype(MemorySegment tensor, MemorySegment result) {
        return two(dtype, tensor, result);
    }

    private static int two(MethodHandle function, MemorySegment first, MemorySegment second) {
        try {
            return (int) function.invokeExact(first, second);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int delete(MemorySegment tensor) {
        try {
            return (int) delete.invokeExact(tensor);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int zero(MemorySegment tensor) {
        try {
            return (int) zero.invokeExact(tensor);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int copy(MemorySegment target, MemorySegment source) {
        try {
            return (int) copy.invokeExact(target, source, 0);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    /** A handle of one's own on the same tensor. */
    int ownHandle(MemorySegment tensor, MemorySegment result) {
        return two(ownHandle, tensor, result);
    }

    /** Calls an operator by its name, on whatever device its tensors are; {@code stack} holds its arguments, and then its results. */
    int dispatch(MemorySegment operator, MemorySegment overload, MemorySegment stack) {
        try {
            return (int) dispatch.invokeExact(operator, overload, stack);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    /** On the CPU; {@link Cuda.Present} has the functions of CUDA. */
    int mm(MemorySegment out, MemorySegment a, MemorySegment b) {
        return mm(mm, out, a, b);
    }

    static int mm(MethodHandle mm, MemorySegment out, MemorySegment a, MemorySegment b) {
        try {
            return (int) mm.invokeExact(out, a, b);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int addmm(MemorySegment out, MemorySegment self, MemorySegment a, MemorySegment b, double beta, double alpha) {
        return addmm(addmm, out, self, a, b, beta, alpha);
    }

    static int addmm(MethodHandle addmm, MemorySegment out, MemorySegment self, MemorySegment a, MemorySegment b, double beta,
            double alpha) {
        try {
            return (int) addmm.invokeExact(out, self, a, b, beta, alpha);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int attention(MemorySegment query, MemorySegment key, MemorySegment value, boolean causal, MemorySegment scale, MemorySegment out,
            MemorySegment logSumExp) {
        try {
            return (int) attention.invokeExact(query, key, value, 0.0, causal ? 1 : 0, MemorySegment.NULL, scale, out, logSumExp);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    int attentionBackward(MemorySegment gradient, MemorySegment query, MemorySegment key, MemorySegment value, MemorySegment out,
            MemorySegment logSumExp, boolean causal, MemorySegment scale, MemorySegment dQuery, MemorySegment dKey, MemorySegment dValue) {
        try {
            return (int) attentionBackward.invokeExact(gradient, query, key, value, out, logSumExp, 0.0, causal ? 1 : 0,
                    MemorySegment.NULL, scale, dQuery, dKey, dValue);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }
}
