package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/** The driver of tests/resources/cuda, compiled with gcc: what it does later than asked for, and what it counts. */
public final class MadeDriver {

    private static final int CUDA_12_4 = 12040;

    private final Path file;

    private MadeDriver(Path file) {
        this.file = file;
    }

    /** Passes the test over where there is no gcc. */
    public static void assumeCompiler() {
        assumeTrue(Arrays.stream(System.getenv("PATH").split(":")).anyMatch(each -> Files.isExecutable(Path.of(each, "gcc"))),
                "gcc makes the driver");
    }

    /** Compiles {@code source} as a library. */
    static Path library(Path made, Path source, String... defined) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("gcc", "-shared", "-fPIC", "-O1", "-o", made.toString(), source.toString()));
        command.addAll(Arrays.asList(defined));
        Process gcc = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(gcc.getInputStream().readAllBytes());
        assertThat(gcc.waitFor()).as(said).isZero();
        return made;
    }

    /**
     * @param made where to put it; a library is loaded once, so that a test that counts takes a name of its own
     * @param more definitions, {@code -DSTART=100}
     */
    static Path of(Path made, int version, int runtime, int devices, String... more) throws IOException, InterruptedException {
        List<String> defined = new ArrayList<>(List.of("-DDRIVER=" + version, "-DRUNTIME=" + runtime, "-DDEVICES=" + devices));
        defined.addAll(List.of(more));
        if (Arrays.stream(more).noneMatch(each -> each.startsWith("-DSTART"))) {
            defined.add("-DSTART=0");
        }
        return library(made, Path.of("tests/resources/cuda/driver.c"), defined.toArray(String[]::new));
    }

    static Cuda cuda(Path driver) {
        SymbolLookup symbols = SymbolLookup.libraryLookup(driver, Arena.global());
        return Cuda.of(new LibtorchLibrary(symbols, "a test's", Optional.empty()), driver.toString());
    }

    /** One with a single device, whole. */
    public static MadeDriver of(Path made, String... more) throws IOException, InterruptedException {
        return new MadeDriver(of(made, CUDA_12_4, CUDA_12_4, 1, more));
    }

    /** A libtorch whose {@link HostAsCuda#DEVICE} is the host's memory, to which this driver copies. */
    public Libtorch torch() {
        return Libtorch.load().withHostAsCuda(cuda(file), _ -> OptionalLong.empty());
    }

    /** Copies that were asked for and not made yet. */
    public long copiesUnderWay() {
        return count("copies_under_way");
    }

    /** How often copies were made to wait for what the device computes. */
    public long waitsForComputing() {
        return count("waits_for_computing");
    }

    /** How often what the device computes was made to wait for anything. */
    public long hindrancesOfComputing() {
        return count("hindrances_of_computing");
    }

    private long count(String function) {
        try {
            return (long) Linker.nativeLinker().downcallHandle(SymbolLookup.libraryLookup(file, Arena.global()).findOrThrow(function),
                    FunctionDescriptor.of(JAVA_LONG)).invokeExact();
        } catch (Throwable failure) {
            throw new AssertionError(failure);
        }
    }
}
