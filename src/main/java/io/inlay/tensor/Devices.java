package io.inlay.tensor;

import io.inlay.Problem;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * The devices of one libtorch: which can be used, what Inlay holds there, and how much is left, promises deducted. Thread-safe.
 *
 * <p>What is left of a CUDA device is what the driver has, and what libtorch keeps of tensors that were freed: as much as Inlay held at
 * most so far, less what it holds now.
 */
public final class Devices implements FreeMemory {

    private final Cuda cuda;
    private final FreeMemory host;
    private final boolean hostStandsIn;
    private final Holdings holdings = new Holdings();
    private final List<Promise> promises = new ArrayList<>();

    /**
     * @param host tells of the CPU
     * @param hostStandsIn whether a CUDA device is the host's memory under another name, which {@code host} tells of too
     */
    Devices(Cuda cuda, FreeMemory host, boolean hostStandsIn) {
        this.cuda = cuda;
        this.host = host;
        this.hostStandsIn = hostStandsIn;
    }

    /**
     * Refuses a device that cannot be used.
     *
     * @throws Problem {@code UNAVAILABLE}, which says what is missing and what to do
     */
    public void require(Device device) {
        if (!device.isCpu() && !hostStandsIn) {
            Cuda.require(cuda, device);
        }
    }

    /** Empty where the device can be used, else why not. */
    public Optional<String> missing(Device device) {
        try {
            require(device);
            return Optional.empty();
        } catch (Problem problem) {
            return Optional.of(problem.getMessage());
        }
    }

    /** For logs: {@code cpu}, or {@code cuda:0, NVIDIA H100, with 79 GiB of which 78 are free}. */
    public String describe(Device device) {
        if (device.isCpu() || hostStandsIn) {
            return device.toString();
        }
        CudaDriver driver = Cuda.require(cuda, device).driver();
        CudaDriver.Memory memory = driver.memory(device.index());
        return device + ", " + driver.names().get(device.index()) + ", with " + (memory.total() >> 30) + " GiB of which "
                + (memory.free() >> 30) + " are free";
    }

    /** The address of the {@code cudaStream_t} on which the calling thread's operations run; 0 for CUDA's default stream. */
    public long currentStream(Device device) {
        return Cuda.require(cuda, device).stream(device.index()).address();
    }

    Cuda cuda() {
        return cuda;
    }

    /** Where libtorch has what is on this device. */
    Device place(Device device) {
        return hostStandsIn ? Device.CPU : device;
    }

    // ---- memory ----

    /** Bytes that Inlay holds on a device that is not the CPU, by what they are for. */
    public Map<String, Long> held(Device device) {
        return holdings.on(device);
    }

    Holdings holdings() {
        return holdings;
    }

    /** What is left for who has no promise. */
    @Override
    public OptionalLong on(Device device) {
        OptionalLong raw = raw(device);
        return raw.isEmpty() ? raw : OptionalLong.of(Math.max(0, raw.getAsLong() - outstanding(device)));
    }

    private OptionalLong raw(Device device) {
        if (!device.isCpu() && cuda instanceof Cuda.Present present) {
            return OptionalLong.of(present.driver().memory(device.index()).free() + holdings.givenBack(device));
        }
        return host.on(device);
    }

    private synchronized long outstanding(Device device) {
        return promises.stream().filter(each -> each.device.equals(device)).mapToLong(Promise::outstanding).sum();
    }

    /**
     * Memory that will be taken later, by tensors of certain purposes. Until it is closed, nobody else is told that it is free.
     */
    public final class Promise implements AutoCloseable {

        private final Device device;
        private final Set<String> purposes;
        private final long bytes;

        private Promise(Device device, Set<String> purposes, long bytes) {
            this.device = device;
            this.purposes = Set.copyOf(purposes);
            this.bytes = bytes;
        }

        private long outstanding() {
            Map<String, Long> held = holdings.on(device);
            return Math.max(0, bytes - purposes.stream().mapToLong(purpose -> held.getOrDefault(purpose, 0L)).sum());
        }

        @Override
        public void close() {
            synchronized (Devices.this) {
                promises.remove(this);
            }
        }
    }

    /**
     * Promises memory of a device, or says how much there is instead. A device that does not tell what it has promises anything.
     *
     * @param purposes of the tensors that will take it
     * @return empty when there is less
     */
    public synchronized Optional<Promise> promise(Device device, Set<String> purposes, long bytes) {
        OptionalLong there = on(device);
        if (there.isPresent() && there.getAsLong() < bytes) {
            return Optional.empty();
        }
        Promise promise = new Promise(device, purposes, bytes);
        promises.add(promise);
        return Optional.of(promise);
    }

    /** What to say when libtorch gives no memory for a tensor. */
    RuntimeException refused(DType dtype, long[] sizes, Device device) {
        String what = dtype + Arrays.toString(sizes);
        if (device.isCpu() || !(cuda instanceof Cuda.Present present)) {
            return new IllegalStateException("libtorch refused allocation of " + what + " on " + device
                    + "; its reason is on the standard error stream");
        }
        CudaDriver.Memory memory = present.driver().memory(device.index());
        return new Problem(Problem.Code.OVERLOADED, String.format(Locale.ROOT, "%s is out of memory: %s asks for %,d bytes, and %,d of its "
                + "%,d are free; Inlay holds %s there, the rest is libtorch's or another process's. Lower inlay.generation.cache-bytes or "
                + "inlay.generation.resident-bytes, or tune with less at a time", device, what,
                Arrays.stream(sizes).reduce(dtype.bytes(), (a, b) -> a * b), memory.free(), memory.total(), holdings.told(device)));
    }
}
