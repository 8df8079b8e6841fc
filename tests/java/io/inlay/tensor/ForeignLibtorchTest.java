package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** A libtorch that DJL did not bring, in the folder that {@code INLAY_TEST_LIBTORCH} names: site-packages/torch/lib of any from 2.7 on. */
@EnabledIfEnvironmentVariable(named = "INLAY_TEST_LIBTORCH", matches = ".+", disabledReason = "INLAY_TEST_LIBTORCH names no libtorch")
class ForeignLibtorchTest {

    @Test
    void it_computes_without_djl_and_tells_whether_it_could_on_a_gpu() throws Exception {
        String folder = System.getenv("INLAY_TEST_LIBTORCH");
        String withoutDjl = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(each -> !each.replace('\\', '/').contains("/ai/djl/")).collect(Collectors.joining(File.pathSeparator));
        Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED", "-D" + LibtorchLibrary.PATH_SETTING + "=" + folder, "-cp", withoutDjl,
                ForeignLibtorch.class.getName()).redirectErrorStream(true).start();
        List<String> said = process.inputReader().lines().toList();
        assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        assertThat(process.exitValue()).as("%s", said).isZero();
        assertThat(said.get(0)).startsWith("libtorch in " + folder);
        assertThat(said.get(1)).isEqualTo("[21.0, 48.0, 48.0, 115.5]");
        assertThat(said.get(2)).isEqualTo("[0.0, 0.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]");
        assertThat(said.get(3)).startsWith("cuda:0 can");
        System.out.println(String.join("\n", said));
    }
}
