package io.inlay.tensor;

import java.lang.foreign.MemorySegment;

/**
 * Copies from the host's memory to one device. To a CUDA device they run on a stream of their own, beside what the device computes, by way
 * of two pinned buffers that take turns: while one is read by the device the other is filled. A call returns when its bytes are there.
 * Thread-safe; one copy at a time.
 */
public final class HostUpload implements AutoCloseable {

    /** Of each pinned buffer: large enough that a copy's start does not count, small enough that the first does not wait for long. */
    private static final long PIECE = 16L << 20;

    private final Libtorch torch;
    private final Device device;
    private Lane lane;

    /** What a CUDA device is fed by; made at the first copy. */
    private record Lane(CudaDriver driver, MemorySegment stream, MemorySegment earlier, MemorySegment[] buffers, MemorySegment[] read) {
    }

    public HostUpload(Libtorch torch, Device device) {
        this.torch = torch;
        this.device = device;
    }

    /** Fills a contiguous tensor of the device, row-major. Operations of this thread that began before come first. */
    public synchronized void copy(MemorySegment from, Tensor to) {
        if (!to.device().equals(device)) {
            throw new IllegalArgumentException(to + " is not on " + device);
        }
        if (!(torch.devices().cuda() instanceof Cuda.Present present) || device.isCpu()) {
            to.fill(from);
            return;
        }
        if (!to.contiguous() || from.byteSize() != to.bytes()) {
            throw new IllegalArgumentException(from.byteSize() + " bytes do not fill " + to);
        }
        Lane own = lane(present.driver());
        // The memory may have been another tensor's until now, which operations under way still use.
        own.driver().record(device.index(), own.earlier(), present.stream(device.index()));
        own.driver().await(device.index(), own.stream(), own.earlier());
        int turn = 0;
        for (long at = 0; at < from.byteSize(); at += PIECE, turn ^= 1) {
            long bytes = Math.min(PIECE, from.byteSize() - at);
            own.driver().await(device.index(), own.read()[turn]);
            MemorySegment piece = own.buffers()[turn].asSlice(0, bytes).copyFrom(from.asSlice(at, bytes));
            own.driver().copyToDevice(device.index(), to.address() + at, piece, own.stream());
            own.driver().record(device.index(), own.read()[turn], own.stream());
        }
        own.driver().awaitStream(device.index(), own.stream());
    }

    private Lane lane(CudaDriver driver) {
        if (lane == null) {
            int index = device.index();
            lane = new Lane(driver, driver.stream(index), driver.event(index),
                    new MemorySegment[] {driver.pinned(index, PIECE), driver.pinned(index, PIECE)},
                    new MemorySegment[] {driver.event(index), driver.event(index)});
        }
        return lane;
    }

    @Override
    public synchronized void close() {
        if (lane != null) {
            int index = device.index();
            for (int i = 0; i < 2; i++) {
                lane.driver().endEvent(index, lane.read()[i]);
                lane.driver().freePinned(index, lane.buffers()[i]);
            }
            lane.driver().endEvent(index, lane.earlier());
            lane.driver().endStream(index, lane.stream());
            lane = null;
        }
    }
}
