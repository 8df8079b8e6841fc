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
        if (device.isCpu()) {
            return Optional.empty();
        }
        return torch.devices().missing(device).or(() -> {
            try (CudaLauncher _ = cuda(torch, device)) {
                return Optional.empty();
            } catch (Problem refused) {
                return Optional.of(refused.getMessage());
            }
        });
    }

    /**
     * The kernels for a device.
     *
     * @param choice of {@link CpuKernels#best(String)}, for the CPU; null for the fastest
     * @throws Problem {@code UNAVAILABLE} where there are none
     */
    public static Kernels of(Libtorch torch, Device device, String choice) {
        if (device.isCpu()) {
            return choice == null ? CpuKernels.best() : CpuKernels.best(choice);
        }
        torch.devices().missing(device).ifPresent(reason -> {
            throw new Problem(Problem.Code.UNAVAILABLE, reason);
        });
        return new CudaKernels(cuda(torch, device));
    }

    /** {@link Kernels#rowsOfAStep()} of a device's kernels, which need not be there. */
    public static int rowsOfAStep(Device device) {
        return device.isCpu() ? 16 : CudaLinears.MOST_ROWS;
    }

    private static JCudaLauncher cuda(Libtorch torch, Device device) {
        return JCudaLauncher.open(torch, device.index(), () -> torch.devices().currentStream(device));
    }
}
