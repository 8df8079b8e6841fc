package io.inlay.tensor;

/** A device to test on where there is none: {@code cuda:0} in name and in all that Inlay asks of it, in the host's memory. */
public final class HostAsCuda {

    public static final Device DEVICE = Device.cuda(0);

    private HostAsCuda() {
    }

    public static Libtorch load() {
        return Libtorch.load().withHostAsCuda();
    }
}
