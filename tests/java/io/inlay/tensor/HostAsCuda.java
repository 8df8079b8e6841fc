package io.inlay.tensor;

import java.util.OptionalLong;

/** A device to test on where there is none: {@code cuda:0} in name and in all that Inlay asks of it, in the host's memory. */
public final class HostAsCuda {

    public static final Device DEVICE = Device.cuda(0);

    private HostAsCuda() {
    }

    public static Libtorch load() {
        return withFree(_ -> OptionalLong.empty());
    }

    /** The most bytes of {@link #DEVICE} that were ever held at once. */
    public static long mostHeld(Libtorch torch) {
        return torch.devices().holdings().givenBack(DEVICE) + torch.devices().held(DEVICE).values().stream().mapToLong(each -> each).sum();
    }

    /** @param memory tells what is free, if anything */
    public static Libtorch withFree(FreeMemory memory) {
        return Libtorch.load().withHostAsCuda(new Cuda.Absent("the host stands in for it"), memory);
    }
}
