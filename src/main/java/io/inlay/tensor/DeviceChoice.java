package io.inlay.tensor;

import io.inlay.Problem;
import java.util.Optional;
import java.util.function.Function;

/**
 * The device that a server computes on, chosen once.
 *
 * @param withoutCuda why the choice did not fall on a GPU although it might have; empty where it did, or where the CPU was asked for
 */
public record DeviceChoice(Device device, Optional<String> withoutCuda) {

    /** Leaves the choice to what is there. */
    public static final String AUTO = "auto";

    /**
     * Chooses.
     *
     * @param setting {@value #AUTO} for cuda:0 where everything is there and the CPU elsewhere, or a device's name
     * @param missing why a device cannot be used; empty where it can
     * @throws Problem {@code INVALID_REQUEST} for a name that is none, {@code UNAVAILABLE} where the named device cannot be used
     */
    public static DeviceChoice of(String setting, Function<Device, Optional<String>> missing) {
        if (setting.equals(AUTO)) {
            Device first = Device.cuda(0);
            Optional<String> reason = missing.apply(first);
            return reason.isEmpty() ? new DeviceChoice(first, reason) : new DeviceChoice(Device.CPU, reason);
        }
        Device named = Device.named(setting);
        missing.apply(named).ifPresent(reason -> {
            throw new Problem(Problem.Code.UNAVAILABLE, reason);
        });
        return new DeviceChoice(named, Optional.empty());
    }
}
