package io.inlay.tensor;

import ai.djl.engine.Engine;
import ai.djl.pytorch.jni.LibUtils;
import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * Finds and loads libtorch: the folder that {@code PYTORCH_LIBRARY_PATH} (or the system property of that name) points to, of any version
 * from 2.7 on, without DJL; otherwise the CPU build that the DJL PyTorch engine brings and unpacks.
 *
 * @param symbols of what computes on the CPU, and of CUDA's part where it is there
 * @param withoutCuda why there is no CUDA part; empty where it is loaded
 */
record LibtorchLibrary(SymbolLookup symbols, String description, Optional<String> withoutCuda) {

    static final String PATH_SETTING = "PYTORCH_LIBRARY_PATH";

    private static final String POINT_THERE = "point " + PATH_SETTING + " at the lib folder of a torch installation for CUDA, such as "
            + "site-packages/torch/lib where pip has installed one";

    static LibtorchLibrary load() {
        String folder = System.getProperty(PATH_SETTING, System.getenv(PATH_SETTING));
        return folder == null || folder.isBlank() ? OfDjl.load() : ofFolder(Path.of(folder));
    }

    /** Apart, so that DJL's classes are asked for only where DJL is. */
    private static final class OfDjl {

        private static LibtorchLibrary load() {
            // DJL would ask a cloud's metadata service and report usage; both are off unless the user says otherwise.
            System.setProperty("ai.djl.offline", System.getProperty("ai.djl.offline", "true"));
            System.setProperty("OPT_OUT_TRACKING", System.getProperty("OPT_OUT_TRACKING", "true"));
            Engine engine = Engine.getEngine("PyTorch");
            Path library = Path.of(LibUtils.getLibtorchPath(), "libtorch_cpu.so");
            return new LibtorchLibrary(SymbolLookup.libraryLookup(library, Arena.global()), "libtorch " + engine.getVersion() + " by DJL",
                    Optional.of("the libtorch that Inlay brings is built for the CPU alone; " + POINT_THERE));
        }
    }

    /** Parts in the order in which they depend on each other; those of CUDA only where the folder has them. */
    static LibtorchLibrary ofFolder(Path folder) {
        if (!Files.isRegularFile(folder.resolve("libtorch_cpu.so"))) {
            throw new Problem(Problem.Code.UNAVAILABLE, PATH_SETTING + " is " + folder + ", which has no libtorch_cpu.so; point it at the "
                    + "lib folder of a torch installation, or unset it to use the CPU build that Inlay brings");
        }
        SymbolLookup symbols;
        try {
            SharedObject.openForAll(folder.resolve("libc10.so").toString());
            symbols = SharedObject.openForAll(folder.resolve("libtorch_cpu.so").toString()).symbols();
        } catch (IOException refused) {
            throw new Problem(Problem.Code.UNAVAILABLE, "libtorch in " + folder + " cannot be loaded: " + refused.getMessage()
                    + "; install torch there anew with all that it depends on, or unset " + PATH_SETTING, refused);
        }
        String description = "libtorch in " + folder;
        if (!Files.isRegularFile(folder.resolve("libtorch_cuda.so"))) {
            return new LibtorchLibrary(symbols, description, Optional.of(folder + " has no libtorch_cuda.so, so it is a build for the CPU "
                    + "alone; " + POINT_THERE));
        }
        try {
            SharedObject.openForAll(folder.resolve("libc10_cuda.so").toString());
            SymbolLookup cuda = SharedObject.openForAll(folder.resolve("libtorch_cuda.so").toString()).symbols();
            return new LibtorchLibrary(symbols.or(cuda), description + " for CUDA", Optional.empty());
        } catch (IOException refused) {
            return new LibtorchLibrary(symbols, description, Optional.of("the CUDA part of libtorch in " + folder + " cannot be loaded: "
                    + refused.getMessage() + "; install the nvidia packages that this torch depends on beside it"));
        }
    }
}
