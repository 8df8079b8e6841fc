package io.inlay.kernels;

import java.util.stream.Stream;
import org.junit.jupiter.api.Named;

/** The implementations that tests run, by their names. */
final class Candidates {

    private Candidates() {
    }

    /**
     * Those of this machine's CPU, and CUDA's, which are given operands of a device: a GPU, or the host in its place. In a process of
     * {@link MadeGpu}'s CUDA's alone.
     */
    static Stream<CpuKernels.Candidate> all() {
        return Stream.concat(MadeGpu.here() ? Stream.empty() : CpuKernels.candidates().stream(),
                TestedCuda.find().stream().map(cuda -> new CpuKernels.Candidate(cuda.onDevice())));
    }

    /** The same for tests with several arguments or with a method alone. */
    static Stream<Named<Kernels>> named() {
        return all().map(each -> Named.of(each.toString(), each.kernels()));
    }

    /** Those that take operands of the host itself, and so look at ids and positions, which nobody reads on a device. */
    static Stream<CpuKernels.Candidate> onHost() {
        return Stream.concat(CpuKernels.candidates().stream(), TestedCuda.find().stream().filter(cuda -> cuda.host().isPresent())
                .map(cuda -> new CpuKernels.Candidate(cuda.kernels())));
    }
}
