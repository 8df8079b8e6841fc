package io.inlay.kernels;

import java.util.ArrayList;
import java.util.List;

/** The implementations that this machine can run. */
public final class CpuKernels {

    private CpuKernels() {
    }

    /** One implementation, by its name. */
    record Candidate(Kernels kernels) {
        @Override
        public String toString() {
            return kernels.name();
        }
    }

    /** All that run here, the reference first. */
    static List<Candidate> candidates() {
        List<Candidate> all = new ArrayList<>();
        all.add(new Candidate(new ScalarKernels()));
        return all;
    }
}
