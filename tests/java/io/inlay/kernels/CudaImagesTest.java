package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import jcuda.driver.CUresult;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** The compiled CUDA kernels that are committed and packed, and what is said where no GPU takes them. */
class CudaImagesTest {

    private static final Path KERNELS = Path.of("kernels");
    private static final Pattern INCLUDE = Pattern.compile("(?m)^#include \"(.*)\"$");
    private static final Pattern ENTRY = Pattern.compile("\\.visible \\.entry (\\w+)\\(");

    @Test
    void the_committed_ptx_is_of_its_source() throws IOException {
        for (Path source : sources()) {
            String name = source.getFileName().toString();
            Path ptx = KERNELS.resolve(name.replace(".cu", ".ptx"));
            assertThat(ptx).as("kernels/cuda.sh writes it").isRegularFile();
            assertThat(Files.readAllLines(ptx).getFirst()).as(ptx + " is older than its source; run kernels/cuda.sh")
                    .isEqualTo("// sha256 of " + name + " and " + String.join(" ", headers(source)) + ": " + digest(source));
        }
    }

    @Test
    void every_kernel_of_every_file_is_listed_and_packed() throws IOException {
        CudaImages images = CudaImages.read();
        int found = 0;
        for (Path source : sources()) {
            String file = source.getFileName().toString().replace(".cu", "");
            String ptx = Files.readString(KERNELS.resolve(file + ".ptx"));
            for (String kernel : ENTRY.matcher(ptx).results().map(match -> match.group(1)).toList()) {
                assertThat(images.file(kernel)).isEqualTo(file);
                found++;
            }
            assertThat(new String(images.image(file, 99, 0), StandardCharsets.UTF_8)).as("PTX where there is no cubin")
                    .isEqualTo(ptx + "\0");
        }
        assertThat(found).isPositive();
        assertThat(images.cuda()).matches("\\d+\\.\\d+");
    }

    @Test
    void a_kernel_that_is_not_there_is_named() {
        assertThatThrownBy(() -> CudaImages.read().file("no_kernel")).hasMessage("there is no CUDA kernel no_kernel in cuda/kernels.txt");
    }

    @Test
    void a_machine_without_a_driver_is_told_so() {
        Assumptions.assumeFalse(Files.exists(Path.of("/dev/nvidiactl")), "there is a GPU here");
        assertThatThrownBy(() -> JCudaLauncher.open(Libtorch.load(), 0, () -> 0)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE))
                .hasMessageMatching("there is no NVIDIA driver \\(libcuda.so.1\\) that Inlay's kernels can use; install one for CUDA "
                        + "\\d+\\.\\d+ or newer, or run on the CPU|the NVIDIA driver finds no GPU that it can use: .*");
    }

    @Test
    void a_driver_older_than_the_compiler_is_told_which_one_is_needed() {
        assertThat(JCudaLauncher.refusal("add", "NVIDIA H100", CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 12040, "13.0"))
                .isEqualTo("the NVIDIA driver does not load Inlay's kernels (add) on NVIDIA H100: CUDA_ERROR_UNSUPPORTED_PTX_VERSION; "
                        + "it is made for CUDA 12.4 and they need 13.0: update the driver, or compile them with an older nvcc "
                        + "(kernels/cuda.sh, CUDA_HOME)");
        assertThat(JCudaLauncher.refusal("add", "NVIDIA H100", CUresult.CUDA_ERROR_INVALID_IMAGE, 13010, "13.0"))
                .isEqualTo("the NVIDIA driver does not load Inlay's kernels (add) on NVIDIA H100: CUDA_ERROR_INVALID_IMAGE");
    }

    @Test
    void a_stream_of_libtorch_becomes_one_of_jcuda() {
        assertThat(JCudaLauncher.streamAt(0x1234).toString()).contains("1234");
    }

    private static List<Path> sources() throws IOException {
        try (Stream<Path> files = Files.list(KERNELS)) {
            return new ArrayList<>(files.filter(file -> file.toString().endsWith(".cu")).sorted().toList());
        }
    }

    private static List<String> headers(Path source) throws IOException {
        return INCLUDE.matcher(Files.readString(source)).results().map(match -> match.group(1)).toList();
    }

    /** Of the source and its headers. */
    private static String digest(Path source) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(Files.readAllBytes(source));
            for (String header : headers(source)) {
                digest.update(Files.readAllBytes(KERNELS.resolve(header)));
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError(impossible);
        }
    }
}
