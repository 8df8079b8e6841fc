package io.inlay.kernels;

import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;

/**
 * A device's kernels over operands of the host, so that the tests of the CPU's kernels are the device's too: what a call is given is
 * carried to the device, and what the call changed is carried back. The kernels see operands of their device alone.
 */
final class OnDevice {

    private OnDevice() {
    }

    /** @param torch that has the device */
    static Kernels of(Libtorch torch, Device device, Kernels kernels) {
        return (Kernels) Proxy.newProxyInstance(Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (_, method, arguments) -> {
            if (arguments == null) {
                return method.invoke(kernels);
            }
            try (Scope scope = new Scope(torch)) {
                CarriedOperands operands = new CarriedOperands(scope, device, arguments);
                Object result = method.invoke(kernels, operands.there());
                operands.bringBack();
                return result;
            } catch (InvocationTargetException failure) {
                throw failure.getCause();
            }
        });
    }
}
