package io.inlay.kernels;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.tensor.HostAsCuda;
import java.util.Optional;

/**
 * CUDA's kernels as they can be tested here, over operands of the host: on the GPU where there is one, and nothing is compiled then; else
 * on the CPU, where a C++ compiler is there.
 *
 * @param host what runs them on the CPU; empty where the GPU does
 */
record TestedCuda(Kernels kernels, Optional<HostLauncher> host) {

    static Optional<TestedCuda> find() {
        if (MadeGpu.here()) {
            return Optional.of(WaitingLauncher.tested());
        }
        return TestedDevice.kernels().map(gpu -> new TestedCuda(gpu, Optional.empty()))
                .or(() -> HostLauncher.find().map(host -> new TestedCuda(new CudaKernels(host), Optional.of(host))));
    }

    /** For tests of these kernels alone, which are skipped where there are none. */
    static TestedCuda required() {
        Optional<TestedCuda> found = find();
        assumeTrue(found.isPresent(), "there is neither a GPU nor a C++ compiler");
        return found.get();
    }

    /** A launcher over memory of the host, for tests that look at what is launched; they are skipped where there is none. */
    static CudaLauncher hostLauncher() {
        return MadeGpu.here() ? WaitingLauncher.open() : HostLauncher.required();
    }

    /** The same kernels over what is a device's for them: where no GPU is, the host's memory under a device's name. */
    Kernels onDevice() {
        return host.isPresent() ? OnDevice.of(HostAsCuda.load(), HostAsCuda.DEVICE, kernels) : kernels;
    }
}
