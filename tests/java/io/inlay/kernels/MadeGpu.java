package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * GPUs made of the CPU: a process whose libcuda.so.1 is that of tests/cuda/driver, and what can be asked of that library there. On a
 * machine with a driver of NVIDIA's that one is not loaded in such a process.
 */
public final class MadeGpu {

    /** The library by its name, as JCuda and the server ask for it. */
    public static final String FILE = "libcuda.so.1";

    private static final String SETTING = "inlay.test.made-gpu";
    private static final int CUDA_13 = 13000;

    private MadeGpu() {
    }

    // ---- the process ----

    /** Compiles the driver; empty where there is no C++ compiler. */
    static Optional<Path> build() throws IOException, InterruptedException {
        Path out = Path.of("target", "cuda-driver").toAbsolutePath();
        Process build = new ProcessBuilder("sh", "tests/cuda/driver/build.sh", out.toString(), "target/cuda-host")
                .redirectErrorStream(true).start();
        String said = new String(build.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (build.waitFor() != 0) {
            throw new IllegalStateException("tests/cuda/driver/build.sh failed: " + said);
        }
        return Optional.of(out).filter(folder -> Files.isRegularFile(folder.resolve(FILE)));
    }

    /** Starts a JVM where these tests run on the driver of the folder. */
    static Process start(Path driver, List<Class<?>> tests) throws IOException {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow",
                "-Xmx1g", "-XX:ErrorFile=" + driver.resolve("jvm-%p.log"), "-D" + SETTING + "=" + driver,
                "-D" + TestedDevice.SETTING + "=cpu", "-cp", System.getProperty("java.class.path"), MadeGpuRun.class.getName()));
        tests.forEach(each -> command.add(each.getName()));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        String others = System.getenv("LD_LIBRARY_PATH");
        builder.environment().put("LD_LIBRARY_PATH", others == null ? driver.toString() : driver + File.pathSeparator + others);
        return builder.start();
    }

    /** Whether this is such a process. */
    public static boolean here() {
        return System.getProperty(SETTING) != null;
    }

    // ---- the driver ----

    /** What the driver holds of each kind; {@code contexts} counts how often they are retained, {@code lost} what contexts took along. */
    public record Held(long contexts, long modules, long streams, long events, long allocated, long pageLocked, long graphs,
            long executableGraphs, long lost) {

        public static final Held NOTHING = new Held(0, 0, 0, 0, 0, 0, 0, 0, 0);
    }

    private record Function(String name, FunctionDescriptor type) {
    }

    private static final Map<Function, MethodHandle> FUNCTIONS = new ConcurrentHashMap<>();

    private static Object call(String function, MemoryLayout result, MemoryLayout[] types, Object... arguments) {
        MethodHandle handle = FUNCTIONS.computeIfAbsent(new Function(function, result == null ? FunctionDescriptor.ofVoid(types)
                : FunctionDescriptor.of(result, types)), MadeGpu::handle);
        try {
            return handle.invokeWithArguments(arguments);
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }

    private static MethodHandle handle(Function function) {
        SymbolLookup driver = SymbolLookup.libraryLookup(FILE, Arena.global());
        MemorySegment symbol = driver.find(function.name()).orElseThrow(() -> new IllegalStateException(FILE + " is another driver here"));
        return Linker.nativeLinker().downcallHandle(symbol, function.type());
    }

    /**
     * Another machine from now on.
     *
     * @param version of CUDA that the driver is for, 1000 major + 10 minor
     * @param pageable whether its GPUs read the host's memory by themselves, as Grace Hopper's do
     */
    public static void machine(int version, int devices, int major, int minor, boolean pageable) {
        MemoryLayout[] types = {JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT};
        call("inlay_driver_machine", null, types, version, devices, major, minor, pageable ? 1 : 0);
    }

    /** Two GPUs like an H100, with a driver for CUDA 13.0, which nobody has used yet. */
    public static void usual() {
        restart();
        machine(CUDA_13, 2, 9, 0, false);
    }

    /** The same, where tensors of the host's memory can be a device's. */
    public static void usualWithHostMemory() {
        restart();
        withHostMemory();
    }

    /** From now on tensors of the host's memory can be a device's. */
    static void withHostMemory() {
        machine(CUDA_13, 2, 9, 0, true);
    }

    /** Until nothing of the device's is left to do. */
    static void waitForAll(int device) {
        enter(device);
        must("cuCtxSynchronize");
        must("cuDevicePrimaryCtxRelease_v2", device);
    }

    /** How much of the host's memory may be page-locked from now on. */
    public static void lockable(long bytes) {
        call("inlay_driver_lockable", null, new MemoryLayout[] {JAVA_LONG}, bytes);
    }

    public static Held held() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment counts = arena.allocate(JAVA_LONG, 9);
            call("inlay_driver_held", null, new MemoryLayout[] {ADDRESS}, counts);
            long[] of = counts.toArray(JAVA_LONG);
            return new Held(of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7], of[8]);
        }
    }

    /** As if nobody had used the driver yet, whatever the test before has left. */
    public static void restart() {
        call("inlay_driver_restart", null, new MemoryLayout[0]);
    }

    /** Work that was given to the device and is not done. */
    public static long pending(int device) {
        return (long) call("inlay_driver_pending", JAVA_LONG, new MemoryLayout[] {JAVA_INT}, device);
    }

    /** The words behind the last error of a kernel or a copy. */
    public static String complaint() {
        MemorySegment text = (MemorySegment) call("inlay_driver_complaint", ADDRESS, new MemoryLayout[0]);
        return text.reinterpret(Long.MAX_VALUE).getString(0);
    }

    /** Calls a function of the driver's; ints, longs and addresses are what they are to it. */
    public static int cu(String function, Object... arguments) {
        MemoryLayout[] types = new MemoryLayout[arguments.length];
        for (int i = 0; i < types.length; i++) {
            types[i] = switch (arguments[i]) {
                case Integer _ -> JAVA_INT;
                case Long _ -> JAVA_LONG;
                case MemorySegment _ -> ADDRESS;
                default -> throw new IllegalArgumentException(function + " is given " + arguments[i]);
            };
        }
        return (int) call(function, JAVA_INT, types, arguments);
    }

    /** The same, which must succeed. */
    public static void must(String function, Object... arguments) {
        int result = cu(function, arguments);
        if (result != 0) {
            throw new AssertionError(function + " gave error " + result);
        }
    }

    /** What such a function puts where its first argument points to: a handle, or an address. */
    public static long made(String function, Object... arguments) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment cell = arena.allocate(JAVA_LONG);
            Object[] all = new Object[arguments.length + 1];
            all[0] = cell;
            System.arraycopy(arguments, 0, all, 1, arguments.length);
            must(function, all);
            return cell.get(JAVA_LONG, 0);
        }
    }

    /** The device's primary context, the calling thread's from now on; {@code cuDevicePrimaryCtxRelease_v2} gives it back. */
    public static void enter(int device) {
        must("cuInit", 0);
        must("cuCtxSetCurrent", made("cuDevicePrimaryCtxRetain", device));
    }

    /** What libtorch's current stream on this thread is said to be. */
    public static void computeOn(long stream) {
        call("inlay_driver_compute_on", null, new MemoryLayout[] {ADDRESS}, MemorySegment.ofAddress(stream));
    }
}
