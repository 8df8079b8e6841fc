package io.inlay.tensor;

import ai.djl.engine.Engine;
import ai.djl.pytorch.jni.LibUtils;
import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Finds libtorch: the folder that {@code PYTORCH_LIBRARY_PATH} (or the system property of that name) points to, of any version from 2.7
 * on; otherwise the CPU build that the DJL PyTorch engine brings and unpacks.
 */
record LibtorchLibrary(SymbolLookup symbols, String description) {

    private static final String PATH_SETTING = "PYTORCH_LIBRARY_PATH";

    static LibtorchLibrary load() {
        String folder = System.getProperty(PATH_SETTING, System.getenv(PATH_SETTING));
        return folder == null || folder.isBlank() ? ofDjl() : ofFolder(Path.of(folder));
    }

    private static LibtorchLibrary ofDjl() {
        // DJL would ask a cloud's metadata service and report usage; both are off unless the user says otherwise.
        System.setProperty("ai.djl.offline", System.getProperty("ai.djl.offline", "true"));
        System.setProperty("OPT_OUT_TRACKING", System.getProperty("OPT_OUT_TRACKING", "true"));
        Engine engine = Engine.getEngine("PyTorch");
        Path library = Path.of(LibUtils.getLibtorchPath(), "libtorch_cpu.so");
        return new LibtorchLibrary(SymbolLookup.libraryLookup(library, Arena.global()), "libtorch " + engine.getVersion() + " by DJL");
    }

    private static LibtorchLibrary ofFolder(Path folder) {
        Path cpu = folder.resolve("libtorch_cpu.so");
        if (!Files.isRegularFile(cpu)) {
            throw new Problem(Problem.Code.UNAVAILABLE, PATH_SETTING + " is " + folder + ", which has no libtorch_cpu.so; point it at the "
                    + "lib folder of a torch installation, or unset it to use the CPU build that Inlay brings");
        }
        SymbolLookup symbols = SymbolLookup.libraryLookup(cpu, Arena.global());
        Path cuda = folder.resolve("libtorch_cuda.so");
        if (Files.isRegularFile(cuda)) {
            symbols = symbols.or(SymbolLookup.libraryLookup(cuda, Arena.global()));
        }
        return new LibtorchLibrary(symbols, "libtorch in " + folder);
    }
}
