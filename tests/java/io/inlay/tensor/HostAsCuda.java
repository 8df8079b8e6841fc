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

    /** @param memory tells what is free, if anything */
    public static Libtorch withFree(FreeMemory memory) {
        return Libtorch.load().withHostAsCuda(new Cuda.Absent("the host stands in for it"), memory);
    }
}
