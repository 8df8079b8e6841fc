package io.inlay.tensor;

import java.util.OptionalLong;

/** How much memory a device has left for tensors. */
@FunctionalInterface
public interface FreeMemory {

    /** Bytes that could be taken now; empty when the device does not say. */
    OptionalLong on(Device device);
}
