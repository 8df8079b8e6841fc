package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * NVIDIA's driver (cuda.h), for what libtorch's C ABI does not tell or do: which devices there are, how much memory they have, pinned host
 * memory, and copies on a stream of their own. All of it in the devices' primary contexts, which are libtorch's too.
 *
 * <p>A failed call throws {@link IllegalStateException} with the driver's words.
 */
final class CudaDriver {

    /** Where every installation of the driver has it. */
    static final String FILE = "libcuda.so.1";

    private static final int NON_BLOCKING_STREAM = 1;
    /** Whoever waits for such an event sleeps; otherwise CUDA may spin on a core that serving needs. */
    private static final int EVENT_FOR_SLEEPERS = 1;
    private static final int EVENT_WITHOUT_TIME = 2;
    private static final int NAME_BYTES = 256;

    private static final Map<String, MemoryLayout[]> FUNCTIONS = Map.ofEntries(
            Map.entry("cuInit", new MemoryLayout[] {JAVA_INT}),
            Map.entry("cuGetErrorString", new MemoryLayout[] {JAVA_INT, ADDRESS}),
            Map.entry("cuDriverGetVersion", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuDeviceGetCount", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuDeviceGet", new MemoryLayout[] {ADDRESS, JAVA_INT}),
            Map.entry("cuDeviceGetName", new MemoryLayout[] {ADDRESS, JAVA_INT, JAVA_INT}),
            Map.entry("cuDevicePrimaryCtxRetain", new MemoryLayout[] {ADDRESS, JAVA_INT}),
            Map.entry("cuCtxSetCurrent", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuMemGetInfo_v2", new MemoryLayout[] {ADDRESS, ADDRESS}),
            Map.entry("cuMemHostAlloc", new MemoryLayout[] {ADDRESS, JAVA_LONG, JAVA_INT}),
            Map.entry("cuMemFreeHost", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuMemcpyHtoDAsync_v2", new MemoryLayout[] {JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS}),
            Map.entry("cuStreamCreate", new MemoryLayout[] {ADDRESS, JAVA_INT}),
            Map.entry("cuStreamDestroy_v2", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuStreamSynchronize", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuStreamWaitEvent", new MemoryLayout[] {ADDRESS, ADDRESS, JAVA_INT}),
            Map.entry("cuEventCreate", new MemoryLayout[] {ADDRESS, JAVA_INT}),
            Map.entry("cuEventRecord", new MemoryLayout[] {ADDRESS, ADDRESS}),
            Map.entry("cuEventSynchronize", new MemoryLayout[] {ADDRESS}),
            Map.entry("cuEventDestroy_v2", new MemoryLayout[] {ADDRESS}));

    private final Map<String, MethodHandle> functions = new HashMap<>();
    private final int version;
    private final List<String> names = new ArrayList<>();
    private final Map<Integer, MemorySegment> contexts = new HashMap<>();

    /** Free and total bytes of a device. */
    record Memory(long free, long total) {
    }

    private CudaDriver(SymbolLookup symbols, String file) throws IOException {
        for (Map.Entry<String, MemoryLayout[]> each : FUNCTIONS.entrySet()) {
            MemorySegment symbol = symbols.find(each.getKey()).orElseThrow(() -> new IOException("the NVIDIA driver's " + file
                    + " has no " + each.getKey() + "; update the driver"));
            functions.put(each.getKey(), Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, each.getValue())));
        }
        int initialised = call("cuInit", 0);
        if (initialised != 0) {
            throw new IOException("the NVIDIA driver does not start: " + words(initialised));
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment number = arena.allocate(JAVA_INT);
            require("cuDriverGetVersion", number);
            version = number.get(JAVA_INT, 0);
            require("cuDeviceGetCount", number);
            int count = number.get(JAVA_INT, 0);
            MemorySegment name = arena.allocate(NAME_BYTES);
            for (int index = 0; index < count; index++) {
                require("cuDeviceGet", number, index);
                require("cuDeviceGetName", name, NAME_BYTES, number.get(JAVA_INT, 0));
                names.add(name.getString(0));
            }
        }
    }

    /**
     * The driver of this machine.
     *
     * @param file {@link #FILE}, or another library with its functions
     * @throws IOException when there is none, when it is broken or when it finds no hardware
     */
    static CudaDriver load(String file) throws IOException {
        SharedObject library;
        try {
            library = SharedObject.open(file);
        } catch (IOException refused) {
            throw new IOException("no NVIDIA driver is installed: " + refused.getMessage() + "; install one, and give a container the "
                    + "device (docker run --gpus all)", refused);
        }
        return new CudaDriver(library.symbols(), file);
    }

    /** The CUDA version that the driver is made for, as {@code 1000 major + 10 minor}. */
    int version() {
        return version;
    }

    /** The devices' names by index. */
    List<String> names() {
        return List.copyOf(names);
    }

    /** Makes the device's primary context the calling thread's. */
    private synchronized void enter(int device) {
        MemorySegment context = contexts.computeIfAbsent(device, index -> pointerFrom("cuDevicePrimaryCtxRetain", index));
        require("cuCtxSetCurrent", context);
    }

    Memory memory(int device) {
        enter(device);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(JAVA_LONG);
            MemorySegment total = arena.allocate(JAVA_LONG);
            require("cuMemGetInfo_v2", free, total);
            return new Memory(free.get(JAVA_LONG, 0), total.get(JAVA_LONG, 0));
        }
    }

    /** Host memory that the device can read by itself; {@link #freePinned} gives it back. */
    MemorySegment pinned(int device, long bytes) {
        enter(device);
        return pointerFrom("cuMemHostAlloc", bytes, 0).reinterpret(bytes);
    }

    void freePinned(int device, MemorySegment memory) {
        enter(device);
        require("cuMemFreeHost", memory);
    }

    /** A stream that waits for no other unless told to. */
    MemorySegment stream(int device) {
        enter(device);
        return pointerFrom("cuStreamCreate", NON_BLOCKING_STREAM);
    }

    void endStream(int device, MemorySegment stream) {
        enter(device);
        require("cuStreamDestroy_v2", stream);
    }

    MemorySegment event(int device) {
        enter(device);
        return pointerFrom("cuEventCreate", EVENT_FOR_SLEEPERS | EVENT_WITHOUT_TIME);
    }

    void endEvent(int device, MemorySegment event) {
        enter(device);
        require("cuEventDestroy_v2", event);
    }

    void record(int device, MemorySegment event, MemorySegment stream) {
        enter(device);
        require("cuEventRecord", event, stream);
    }

    /** Lets what comes next in the stream wait for the event. */
    void await(int device, MemorySegment stream, MemorySegment event) {
        enter(device);
        require("cuStreamWaitEvent", stream, event, 0);
    }

    /** The calling thread sleeps until it has come; for an event that was never recorded not at all. */
    void await(int device, MemorySegment event) {
        enter(device);
        require("cuEventSynchronize", event);
    }

    void awaitStream(int device, MemorySegment stream) {
        enter(device);
        require("cuStreamSynchronize", stream);
    }

    /** Copies pinned memory to an address of the device, later than the call. */
    void copyToDevice(int device, long address, MemorySegment from, MemorySegment stream) {
        enter(device);
        require("cuMemcpyHtoDAsync_v2", address, from, from.byteSize(), stream);
    }

    // ---- calls ----

    private MemorySegment pointerFrom(String function, Object... arguments) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment cell = arena.allocate(ADDRESS);
            Object[] all = new Object[arguments.length + 1];
            all[0] = cell;
            System.arraycopy(arguments, 0, all, 1, arguments.length);
            require(function, all);
            return cell.get(ADDRESS, 0);
        }
    }

    private void require(String function, Object... arguments) {
        int status = call(function, arguments);
        if (status != 0) {
            throw new IllegalStateException("the NVIDIA driver refused " + function + ": " + words(status));
        }
    }

    private int call(String function, Object... arguments) {
        try {
            return (int) functions.get(function).invokeWithArguments(arguments);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    private String words(int status) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment cell = arena.allocate(ADDRESS);
            if (call("cuGetErrorString", status, cell) != 0 || cell.get(ADDRESS, 0).address() == 0) {
                return "error " + status;
            }
            return cell.get(ADDRESS, 0).reinterpret(Long.MAX_VALUE).getString(0) + " (error " + status + ")";
        }
    }
}
