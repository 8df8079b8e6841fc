package io.inlay.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * The compiled CUDA kernels as the class path has them: PTX for every GPU from compute capability 8.0 on, and cubins where the build had
 * nvcc.
 */
final class CudaImages {

    private static final String FOLDER = "cuda/";
    private static final String LIST = FOLDER + "kernels.txt";

    private final String cuda;
    private final Map<String, String> files;

    private CudaImages(String cuda, Map<String, String> files) {
        this.cuda = cuda;
        this.files = files;
    }

    static CudaImages read() {
        byte[] list = resource(LIST);
        if (list == null) {
            throw new IllegalStateException("this build has no " + LIST + ", which kernels/cuda.sh writes");
        }
        String cuda = null;
        Map<String, String> files = new HashMap<>();
        for (String line : new String(list, StandardCharsets.UTF_8).lines().toList()) {
            String[] part = line.split(" ");
            if (part[0].equals("cuda")) {
                cuda = part[1];
            } else {
                files.put(part[0], part[1]);
            }
        }
        return new CudaImages(cuda, files);
    }

    /** The CUDA version, {@code 13.0}, that a driver must have to take the PTX. */
    String cuda() {
        return cuda;
    }

    /** The file that has the kernel. */
    String file(String kernel) {
        String file = files.get(kernel);
        if (file == null) {
            throw new IllegalArgumentException("there is no CUDA kernel " + kernel + " in " + LIST);
        }
        return file;
    }

    /** The file's kernels for a GPU of this compute capability, as cuModuleLoadData takes them: a cubin of its generation, else PTX. */
    byte[] image(String file, int major, int minor) {
        byte[] exact = resource(FOLDER + file + ".sm_" + major + minor + ".cubin");
        byte[] cubin = exact != null ? exact : resource(FOLDER + file + ".sm_" + major + "0.cubin");
        if (cubin != null) {
            return cubin;
        }
        byte[] ptx = resource(FOLDER + file + ".ptx");
        if (ptx == null) {
            throw new IllegalStateException("this build has no " + file + ".ptx, which kernels/cuda.sh writes");
        }
        return Arrays.copyOf(ptx, ptx.length + 1);
    }

    private static byte[] resource(String name) {
        try (InputStream stream = CudaImages.class.getResourceAsStream(name)) {
            return stream == null ? null : stream.readAllBytes();
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
