package io.inlay.kernels;

import io.inlay.tensor.Device;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.List;

/**
 * Kernels of {@link HostAsCuda#DEVICE}: they take operands that are all on that device, know of them no more than addresses, sizes and
 * strides, and compute what the CPU's would, to the bit.
 */
public final class HostAsCudaKernels {

    private HostAsCudaKernels() {
    }

    public static Kernels over(Kernels cpu) {
        return (Kernels) Proxy.newProxyInstance(Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (_, method, arguments) -> {
            if (arguments == null) {
                return method.invoke(cpu);
            }
            Scope[] scope = new Scope[1];
            try {
                return method.invoke(cpu, Arrays.stream(arguments).map(each -> onCpu(each, scope)).toArray());
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            } finally {
                if (scope[0] != null) {
                    scope[0].close();
                }
            }
        });
    }

    private static Object onCpu(Object argument, Scope[] scope) {
        return switch (argument) {
            case null -> null;
            case Tensor tensor -> onCpu(tensor, scope);
            case List<?> list -> list.stream().map(each -> onCpu(each, scope)).toList();
            default -> argument;
        };
    }

    /** The same memory as a tensor of the CPU's. */
    private static Tensor onCpu(Tensor tensor, Scope[] scope) {
        if (!tensor.device().equals(HostAsCuda.DEVICE)) {
            throw new AssertionError(tensor + " is given to kernels of " + HostAsCuda.DEVICE);
        }
        if (scope[0] == null) {
            scope[0] = new Scope(tensor.torch());
        }
        long[] sizes = tensor.sizes();
        long[] strides = tensor.strides();
        long span = tensor.elements() == 0 ? 0 : 1;
        for (int i = 0; span > 0 && i < sizes.length; i++) {
            span += (sizes[i] - 1) * strides[i];
        }
        MemorySegment memory = MemorySegment.ofAddress(tensor.address()).reinterpret(span * tensor.dtype().bytes());
        Tensor flat = scope[0].wrap(memory, tensor.dtype(), span);
        return tensor.elements() == 0 ? scope[0].empty(tensor.dtype(), Device.CPU, sizes) : flat.strided(scope[0], sizes, strides, 0);
    }
}
