package io.inlay.kernels;

import java.util.stream.Stream;

/** The implementations that tests run: those of this machine's CPU, and CUDA's on the CPU where a C++ compiler is there. */
final class Candidates {

    private Candidates() {
    }

    static Stream<CpuKernels.Candidate> all() {
        return Stream.concat(CpuKernels.candidates().stream(),
                HostLauncher.find().stream().map(launcher -> new CpuKernels.Candidate(new CudaKernels(launcher))));
    }
}
