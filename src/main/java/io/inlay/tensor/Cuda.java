package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Optional;

/** What of CUDA is there: looked at once, when libtorch has been loaded; nothing of it costs a server anything that runs on the CPU. */
sealed interface Cuda {

    /** @param why in words that tell what to do */
    record Absent(String why) implements Cuda {
    }

    /**
     * A driver that runs this libtorch's CUDA, with one device at least.
     *
     * @param mm and addmm of libtorch, as on the CPU
     * @param currentStream of the calling thread
     */
    record Present(CudaDriver driver, MethodHandle mm, MethodHandle addmm, MethodHandle currentStream) implements Cuda {

        /** The raw {@code cudaStream_t} on which libtorch's operations of the calling thread run; 0 is the default stream. */
        MemorySegment stream(int device) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment cell = arena.allocate(ADDRESS);
                if ((int) currentStream.invokeExact(device, cell) != 0) {
                    throw new IllegalStateException("libtorch does not tell the current stream of cuda:" + device);
                }
                return cell.get(ADDRESS, 0);
            } catch (IllegalStateException refused) {
                throw refused;
            } catch (Throwable failure) {
                throw new AssertionError(failure);
            }
        }
    }

    /** Looks: library, symbols, driver, its version, devices. What is missing first is told, with its cause. */
    static Cuda of(LibtorchLibrary library, String driverFile) {
        if (library.withoutCuda().isPresent()) {
            return new Absent(library.withoutCuda().get());
        }
        CudaDriver driver;
        try {
            driver = CudaDriver.load(driverFile);
        } catch (IOException refused) {
            return new Absent(refused.getMessage());
        }
        Optional<String> tooOld = runtimeVersion(library.symbols()).flatMap(runtime -> tooOld(runtime, driver.version()));
        if (tooOld.isPresent()) {
            return new Absent(tooOld.get());
        }
        if (driver.names().isEmpty()) {
            return new Absent("the NVIDIA driver finds no device; look at nvidia-smi and CUDA_VISIBLE_DEVICES, and give a container the "
                    + "device (docker run --gpus all)");
        }
        try {
            return new Present(driver, handle(library.symbols(), "aoti_torch_cuda_mm_out", ADDRESS, ADDRESS, ADDRESS),
                    handle(library.symbols(), "aoti_torch_cuda_addmm_out", ADDRESS, ADDRESS, ADDRESS, ADDRESS, JAVA_DOUBLE, JAVA_DOUBLE),
                    handle(library.symbols(), "aoti_torch_get_current_cuda_stream", JAVA_INT, ADDRESS));
        } catch (IOException missing) {
            return new Absent(missing.getMessage());
        }
    }

    private static MethodHandle handle(SymbolLookup symbols, String name, MemoryLayout... arguments) throws IOException {
        MemorySegment symbol = symbols.find(name).orElseThrow(() -> new IOException("this libtorch's CUDA part has no symbol " + name
                + "; Inlay needs torch 2.7 or newer"));
        return Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** Of the CUDA runtime that libtorch was linked with, {@code 1000 major + 10 minor}; empty where it does not say. */
    private static Optional<Integer> runtimeVersion(SymbolLookup symbols) {
        return symbols.find("cudaRuntimeGetVersion").map(symbol -> {
            MethodHandle get = Linker.nativeLinker().downcallHandle(symbol, FunctionDescriptor.of(JAVA_INT, ADDRESS));
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment cell = arena.allocate(JAVA_INT);
                return (int) get.invokeExact(cell) == 0 ? cell.get(JAVA_INT, 0) : 0;
            } catch (Throwable failure) {
                throw new AssertionError(failure);
            }
        });
    }

    /** A driver runs every CUDA of its own major version, whatever the minor ones (CUDA's minor version compatibility), and older ones. */
    static Optional<String> tooOld(int runtime, int driver) {
        if (driver / 1000 >= runtime / 1000) {
            return Optional.empty();
        }
        return Optional.of("this libtorch is made for CUDA " + title(runtime) + ", the NVIDIA driver for CUDA " + title(driver)
                + " at most; update the driver, or install a torch for CUDA " + driver / 1000);
    }

    private static String title(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    /**
     * Whether the device can be used, and if not, why.
     *
     * @throws Problem {@code UNAVAILABLE}
     */
    static Present require(Cuda cuda, Device device) {
        return switch (cuda) {
            case Absent(String why) -> throw new Problem(Problem.Code.UNAVAILABLE, device + " cannot be used: " + why);
            case Present present -> {
                List<String> names = present.driver().names();
                if (device.index() >= names.size()) {
                    throw new Problem(Problem.Code.UNAVAILABLE, device + " cannot be used: there " + (names.size() == 1 ? "is 1 device"
                            : "are " + names.size() + " devices") + ", the last of which is cuda:" + (names.size() - 1) + ", "
                            + names.getLast());
                }
                yield present;
            }
        };
    }
}
