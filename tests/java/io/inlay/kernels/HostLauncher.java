package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/** CUDA kernels on the CPU, compiled by tests/cuda/build.sh. The device's memory is the process's; fresh memory is NaN. */
final class HostLauncher implements CudaLauncher {

    private static final int ERROR_BYTES = 1000;
    private static final Optional<SymbolLookup> LIBRARY = build();

    private final MethodHandle launch;
    private final Map<Long, Arena> allocated = new ConcurrentHashMap<>();
    private volatile boolean closed;

    private HostLauncher(SymbolLookup symbols) {
        launch = Linker.nativeLinker().downcallHandle(symbols.find("inlay_cuda_launch").orElseThrow(),
                FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT));
    }

    /** Empty where there is no C++ compiler; a kernel that does not compile is an error. */
    static Optional<HostLauncher> find() {
        return LIBRARY.map(HostLauncher::new);
    }

    /** For tests of it alone, which are skipped where there is none. */
    static HostLauncher required() {
        Optional<HostLauncher> found = find();
        assumeTrue(found.isPresent(), "there is no C++ compiler");
        return found.get();
    }

    private static Optional<SymbolLookup> build() {
        Path out = Path.of("target", "cuda-host").toAbsolutePath();
        Path library = out.resolve("libinlay-cuda-host.so");
        try {
            Process build = new ProcessBuilder("sh", "tests/cuda/build.sh", out.toString()).redirectErrorStream(true).start();
            String said = new String(build.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (build.waitFor() != 0) {
                throw new IllegalStateException("tests/cuda/build.sh failed: " + said);
            }
            return Files.isRegularFile(library) ? Optional.of(SymbolLookup.libraryLookup(library, Arena.global())) : Optional.empty();
        } catch (IOException failure) {
            throw new IllegalStateException("tests/cuda/build.sh does not start", failure);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    @Override
    public String name() {
        return "the cpu";
    }

    @Override
    public void launch(CudaLaunch work) {
        try (Arena arena = Arena.ofConfined()) {
            byte[] sizes = work.argumentBytes();
            MemorySegment geometry = arena.allocate(JAVA_INT, 6);
            for (int i = 0; i < 6; i++) {
                geometry.setAtIndex(JAVA_INT, i, work.geometry(i));
            }
            MemorySegment error = arena.allocate(ERROR_BYTES);
            int failed = (int) launch.invokeExact(arena.allocateFrom(work.kernel()), geometry, work.sharedBytes(), work.parameters(arena),
                    arena.allocateFrom(ValueLayout.JAVA_BYTE, sizes), sizes.length, error, ERROR_BYTES);
            if (failed != 0) {
                throw new IllegalStateException(error.getString(0));
            }
        } catch (RuntimeException | Error failure) {
            throw failure;
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    @Override
    public CudaGraph graph(List<CudaLaunch> launches) {
        List<CudaLaunch> copy = List.copyOf(launches);
        return new CudaGraph() {
            private boolean given;

            @Override
            public void launch() {
                if (given) {
                    throw new IllegalStateException("a graph is launched that was given back");
                }
                copy.forEach(HostLauncher.this::launch);
            }

            @Override
            public void close() {
                given = true;
            }
        };
    }

    @Override
    public long allocate(long bytes) {
        Arena arena = Arena.ofShared();
        MemorySegment memory = arena.allocate(bytes, 256);
        memory.fill((byte) 0xff);
        allocated.put(memory.address(), arena);
        return memory.address();
    }

    @Override
    public void free(long address) {
        Arena arena = allocated.remove(address);
        if (arena != null) {
            arena.close();
        } else if (!closed) {
            throw new IllegalArgumentException(address + " is not allocated");
        }
    }

    @Override
    public void upload(MemorySegment from, long to) {
        MemorySegment.copy(from, 0, MemorySegment.ofAddress(to).reinterpret(from.byteSize()), 0, from.byteSize());
    }

    @Override
    public void download(long from, MemorySegment to) {
        MemorySegment.copy(MemorySegment.ofAddress(from).reinterpret(to.byteSize()), 0, to, 0, to.byteSize());
    }

    @Override
    public void close() {
        closed = true;
        allocated.values().forEach(Arena::close);
        allocated.clear();
    }

    /** What is allocated and not freed. */
    int held() {
        return allocated.size();
    }
}
