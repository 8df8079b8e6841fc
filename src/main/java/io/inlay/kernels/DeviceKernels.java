package io.inlay.kernels;

import io.inlay.Problem;
import io.inlay.tensor.Device;
import java.util.Optional;

/** The kernels of a device: those of the CPU compute on its own tensors alone. */
public final class DeviceKernels {

    private DeviceKernels() {
    }

    /** Empty where there are kernels for the device, else why not. */
    public static Optional<String> missing(Device device) {
        return device.isCpu() ? Optional.empty() : Optional.of(device + " cannot be used: this build of Inlay has no CUDA kernels");
    }

    /**
     * The kernels for a device.
     *
     * @param choice of {@link CpuKernels#best(String)}, for the CPU; null for the fastest
     * @throws Problem {@code UNAVAILABLE} where there are none
     */
    public static Kernels of(Device device, String choice) {
        missing(device).ifPresent(reason -> {
            throw new Problem(Problem.Code.UNAVAILABLE, reason);
        });
        return choice == null ? CpuKernels.best() : CpuKernels.best(choice);
    }
}
