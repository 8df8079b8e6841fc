package io.inlay.kernels;

import io.inlay.Problem;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.util.Optional;

/** The kernels of a device: those of the CPU compute on its own tensors alone. */
public final class DeviceKernels {

    private DeviceKernels() {
    }

    /** Empty where device and kernels for it are there, else why not. */
    public static Optional<String> missing(Libtorch torch, Device device) {
        return torch.devices().missing(device).or(() -> missing(device));
    }

    private static Optional<String> missing(Device device) {
        return device.isCpu() ? Optional.empty() : Optional.of(device + " cannot be used: this build of Inlay has no CUDA kernels");
    }

    /**
     * The kernels for a device.
     *
     * @param choice of {@link CpuKernels#best(String)}, for the CPU; null for the fastest
     * @throws Problem {@code UNAVAILABLE} where there are none
     */
    public static Kernels of(Libtorch torch, Device device, String choice) {
        missing(torch, device).ifPresent(reason -> {
            throw new Problem(Problem.Code.UNAVAILABLE, reason);
        });
        return choice == null ? CpuKernels.best() : CpuKernels.best(choice);
    }
}
