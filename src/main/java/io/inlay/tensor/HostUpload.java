package io.inlay.tensor;

import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.BiConsumer;

/**
 * Copies from the host's memory to one device. To a CUDA device they run on a stream of their own, beside what the device computes, by way
 * of two pinned buffers that take turns: while one is read by the device the other is filled. A call returns when its bytes are there, so
 * that what the device computes never waits for a copy, and who is handed the tensors need not.
 *
 * <p>The copies of a call wait for what the device had to compute when it began: the memory that they fill may have been another tensor's.
 * It is one wait for all of them, so what belongs together should come in one call. Thread-safe; one call at a time.
 */
public final class HostUpload implements AutoCloseable {

    /** Of each pinned buffer: large enough that a copy's start does not count, small enough that the first does not wait for long. */
    private static final long PIECE = 16L << 20;

    private final Libtorch torch;
    private final Device device;
    /** Give back what the lane has, or had until one of its parts was refused; the last comes first. */
    private final Deque<Runnable> ends = new ArrayDeque<>();
    private Lane lane;

    /** What a CUDA device is fed by; made at the first copy. */
    private record Lane(CudaDriver driver, MemorySegment stream, MemorySegment earlier, MemorySegment[] buffers, MemorySegment[] read) {
    }

    public HostUpload(Libtorch torch, Device device) {
        this.torch = torch;
        this.device = device;
    }

    /**
     * Bytes of the host's on their way.
     *
     * @param to a contiguous tensor of the device, which they fill, row-major
     */
    public record Transfer(MemorySegment from, Tensor to) {
    }

    /** Fills one tensor. */
    public void copy(MemorySegment from, Tensor to) {
        copy(List.of(new Transfer(from, to)));
    }

    /** Fills these tensors. Operations of this thread that began before come first. */
    public synchronized void copy(List<Transfer> transfers) {
        transfers.forEach(this::requireFitting);
        if (!(torch.devices().cuda() instanceof Cuda.Present present) || device.isCpu()) {
            transfers.forEach(each -> each.to().fill(each.from()));
            return;
        }
        Lane own = lane(present.driver());
        try {
            own.driver().record(device.index(), own.earlier(), present.stream(device.index()));
            own.driver().await(device.index(), own.stream(), own.earlier());
            send(own, transfers);
            for (MemorySegment sent : own.read()) {
                own.driver().await(device.index(), sent);
            }
        } catch (RuntimeException | Error failure) {
            abandon(own, failure);
            throw failure;
        }
    }

    private void requireFitting(Transfer transfer) {
        Tensor to = transfer.to();
        if (!to.device().equals(device)) {
            throw new IllegalArgumentException(to + " is not on " + device);
        }
        if (!to.contiguous() || transfer.from().byteSize() != to.bytes()) {
            throw new IllegalArgumentException(transfer.from().byteSize() + " bytes do not fill " + to);
        }
    }

    private void send(Lane own, List<Transfer> transfers) {
        int turn = 0;
        for (Transfer each : transfers) {
            for (long at = 0; at < each.from().byteSize(); at += PIECE, turn ^= 1) {
                long bytes = Math.min(PIECE, each.from().byteSize() - at);
                own.driver().await(device.index(), own.read()[turn]);
                MemorySegment piece = own.buffers()[turn].asSlice(0, bytes).copyFrom(each.from().asSlice(at, bytes));
                own.driver().copyToDevice(device.index(), each.to().address() + at, piece, own.stream());
                own.driver().record(device.index(), own.read()[turn], own.stream());
            }
        }
    }

    /** Waits for what is under way, since the tensors that it fills are freed now and their memory may become others'. */
    private void abandon(Lane own, Throwable failure) {
        try {
            own.driver().awaitStream(device.index(), own.stream());
        } catch (RuntimeException later) {
            failure.addSuppressed(later);
        }
    }

    private Lane lane(CudaDriver driver) {
        if (lane == null) {
            int index = device.index();
            try {
                lane = new Lane(driver, kept(driver.stream(index), driver::endStream), kept(driver.event(index), driver::endEvent),
                        new MemorySegment[] {kept(driver.pinned(index, PIECE), driver::freePinned),
                            kept(driver.pinned(index, PIECE), driver::freePinned)},
                        new MemorySegment[] {kept(driver.event(index), driver::endEvent), kept(driver.event(index), driver::endEvent)});
            } catch (RuntimeException refused) {
                giveBack();
                throw refused;
            }
        }
        return lane;
    }

    private MemorySegment kept(MemorySegment made, BiConsumer<Integer, MemorySegment> end) {
        ends.push(() -> end.accept(device.index(), made));
        return made;
    }

    private void giveBack() {
        while (!ends.isEmpty()) {
            ends.pop().run();
        }
    }

    @Override
    public synchronized void close() {
        lane = null;
        giveBack();
    }
}
