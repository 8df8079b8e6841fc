package io.inlay.kernels;

import io.inlay.Problem;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The implementations that this machine can run, and the choice among them: {@code native} where its library loads, else
 * {@code vector}. The system property {@code inlay.kernels} ({@code scalar}, {@code vector} or {@code native}) overrides the choice,
 * {@code INLAY_THREADS} the number of cores that a kernel may use.
 */
public final class CpuKernels {

    /** Names the implementation to use. */
    public static final String CHOICE = "inlay.kernels";

    private static final String VECTOR_MODULE = "jdk.incubator.vector";

    private static final Logger LOG = LoggerFactory.getLogger(CpuKernels.class);

    private CpuKernels() {
    }

    /** The fastest that works here, or the one that {@value #CHOICE} names. */
    public static Kernels best() {
        return best(System.getProperty(CHOICE));
    }

    /** The named implementation, or the fastest that works here when {@code choice} is null or blank. */
    public static Kernels best(String choice) {
        return switch (choice == null ? "" : choice.strip()) {
            case "scalar" -> new ScalarKernels();
            case "vector" -> {
                if (!vectorModule()) {
                    throw new Problem(Problem.Code.UNAVAILABLE, "vector kernels were asked for, but the JVM runs without "
                            + VECTOR_MODULE + "; start it with --add-modules=" + VECTOR_MODULE);
                }
                yield new VectorKernels(threads());
            }
            case "native" -> {
                try {
                    yield loadNative();
                } catch (IOException cause) {
                    throw new Problem(Problem.Code.UNAVAILABLE, "native kernels were asked for but do not work here: "
                            + cause.getMessage() + "; install gcc and build again, or leave " + CHOICE + " unset", cause);
                }
            }
            case "" -> {
                try {
                    yield loadNative();
                } catch (IOException cause) {
                    yield inJava(cause);
                }
            }
            default -> throw new Problem(Problem.Code.UNAVAILABLE, CHOICE + " is '" + choice + "'; it can be native, vector or scalar");
        };
    }

    private static Kernels inJava(IOException cause) {
        if (vectorModule()) {
            LOG.warn("native kernels are not used, the Vector API ones are: {}", cause.getMessage(), cause);
            return new VectorKernels(threads());
        }
        LOG.warn("native kernels are not used: {}; nor can the Vector API ones be: start the JVM with --add-modules={}. The scalar "
                + "ones are very slow", cause.getMessage(), VECTOR_MODULE, cause);
        return new ScalarKernels();
    }

    private static boolean vectorModule() {
        return ModuleLayer.boot().findModule(VECTOR_MODULE).isPresent();
    }

    private static NativeKernels loadNative() throws IOException {
        IOException cause = new IOException("they exist for Linux on x86-64 with AVX2 and on aarch64; this is "
                + System.getProperty("os.name") + " on " + System.getProperty("os.arch"));
        for (InstructionSet set : InstructionSet.ofThisMachine()) {
            try {
                return NativeKernels.load(set, threads());
            } catch (IOException refused) {
                cause = refused;
            }
        }
        throw cause;
    }

    /** Cores that a kernel may use: {@code INLAY_THREADS}, else all. */
    static int threads() {
        String setting = System.getenv("INLAY_THREADS");
        if (setting == null || setting.isBlank()) {
            return Runtime.getRuntime().availableProcessors();
        }
        try {
            int threads = Integer.parseInt(setting.strip());
            if (threads >= 1) {
                return threads;
            }
        } catch (NumberFormatException notANumber) {
            // refused below, with the same words as a number below 1
        }
        throw new Problem(Problem.Code.UNAVAILABLE, "INLAY_THREADS is '" + setting + "'; it must be a whole number from 1");
    }

    /** One implementation, by its name. */
    record Candidate(Kernels kernels) {
        @Override
        public String toString() {
            return kernels.name();
        }
    }

    /** All that run here, the reference first: one per instruction set of the processor. */
    static List<Candidate> candidates() {
        List<Candidate> all = new ArrayList<>();
        all.add(new Candidate(new ScalarKernels()));
        all.add(new Candidate(new VectorKernels(threads())));
        for (InstructionSet set : InstructionSet.ofThisMachine()) {
            try {
                all.add(new Candidate(NativeKernels.load(set, threads())));
            } catch (IOException cause) {
                LOG.warn("{} is not there: {}", set.title(), cause.getMessage());
            }
        }
        return all;
    }
}
