package io.inlay.kernels;

import java.util.function.LongConsumer;

/**
 * Memory of a device that is given back on close; kernels launched before that may still use it.
 *
 * @param giveBack takes the address
 */
record DeviceBuffer(long address, long bytes, LongConsumer giveBack) implements AutoCloseable {

    @Override
    public void close() {
        giveBack.accept(address);
    }
}
