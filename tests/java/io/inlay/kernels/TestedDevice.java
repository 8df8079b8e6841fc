package io.inlay.kernels;

import io.inlay.tensor.Device;
import io.inlay.tensor.DeviceChoice;
import io.inlay.tensor.Libtorch;
import java.util.Optional;
import java.util.function.Function;

/** The device whose kernels are tested beside the CPU's. */
public final class TestedDevice {

    /** A system property that names it; {@value DeviceChoice#AUTO} where there is none. */
    public static final String SETTING = "inlay.test.device";

    /** An environment variable; with 1, a device that is missing is a failure. */
    static final String REQUIRED = "INLAY_REQUIRE_GPU";

    private static Optional<Kernels> kernels;

    private TestedDevice() {
    }

    /**
     * Its kernels over operands of the host, the same for all tests; empty where the CPU is all that is tested.
     *
     * @throws IllegalStateException where there is no device and {@value #REQUIRED} is 1
     * @throws io.inlay.Problem {@code UNAVAILABLE} where the named device cannot be used
     */
    static synchronized Optional<Kernels> kernels() {
        if (kernels == null) {
            Libtorch torch = Libtorch.load();
            Device device = choose(System.getProperty(SETTING, DeviceChoice.AUTO), "1".equals(System.getenv(REQUIRED)),
                    each -> DeviceKernels.missing(torch, each));
            kernels = device.isCpu() ? Optional.empty() : Optional.of(OnDevice.of(torch, device, DeviceKernels.of(torch, device, null)));
        }
        return kernels;
    }

    static Device choose(String setting, boolean required, Function<Device, Optional<String>> missing) {
        DeviceChoice choice = DeviceChoice.of(setting, missing);
        choice.withoutCuda().filter(_ -> required).ifPresent(reason -> {
            throw new IllegalStateException(REQUIRED + " is 1, and there is no GPU to test: " + reason);
        });
        return choice.device();
    }
}
