package io.inlay.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.kernels.DeviceKernels;
import io.inlay.server.demo.ServerProcess;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.io.File;
import java.io.IOException;
import java.lang.module.ModuleFinder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What can be known of tests/gpu without a GPU. */
class GpuRunTest {

    private static final Path PACK = Path.of("tests/gpu/pack");

    @TempDir
    private Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"tests/gpu/pack", "tests/gpu/run"})
    void scripts_are_bash(String script) throws Exception {
        assertThat(output(List.of("bash", "-n", script), Map.of())).isEqualTo("exit code 0");
        assertThat(Files.isExecutable(Path.of(script))).isTrue();
    }

    @Test
    void every_module_of_the_packed_runtime_is_in_the_jdk() throws IOException {
        assertThat(words("modules")).contains("jdk.incubator.vector")
                .allSatisfy(module -> assertThat(ModuleFinder.ofSystem().find(module)).as(module).isPresent());
    }

    @Test
    void every_archive_and_file_of_the_pack_is_there() throws IOException {
        List<String> jars = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .map(jar -> Path.of(jar).getFileName().toString()).toList();
        assertThat(words("artifacts")).hasSizeGreaterThan(20).filteredOn(artifact -> !artifact.equals("jcuda-natives"))
                .allSatisfy(artifact -> assertThat(jars).as(artifact)
                        .anyMatch(jar -> jar.matches(Pattern.quote(artifact) + "-[0-9].*\\.jar")));
        assertThat(words("files")).contains("tests/gpu/run").allSatisfy(file -> assertThat(Path.of(file)).exists());
    }

    @Test
    void what_the_contracts_read_is_packed() throws IOException {
        List<String> packed = words("files");
        List<Path> sources;
        try (Stream<Path> all = Files.walk(Path.of("tests/java/io/inlay/kernels"))) {
            sources = all.filter(each -> ("io.inlay.kernels." + each.getFileName()).replace(".java", "").matches(DeviceContracts.KERNEL_TESTS))
                    .toList();
        }
        assertThat(sources).hasSizeGreaterThan(5);
        for (Path source : sources) {
            assertThat(Pattern.compile("\"((tests|model-store|src|kernels)/[^\"]*)").matcher(Files.readString(source)).results()
                    .map(read -> read.group(1))).as(source.toString())
                    .allSatisfy(file -> assertThat(packed).anyMatch(each -> Path.of(file).startsWith(each)));
        }
    }

    @Test
    void nothing_of_the_server_is_packed() throws IOException {
        assertThat(words("artifacts")).noneMatch(artifact -> artifact.contains("quarkus") || artifact.contains("pytorch-native"));
        assertThat(words("classes")).doesNotContain("io/inlay/api", "io/inlay/server");
    }

    /** The same main class that the pack starts, without its Python. */
    @Test
    void the_first_two_stages_run_on_the_cpu() throws Exception {
        Path page = folder.resolve("results.md");
        String said = run("--cpu", "--stages", "contracts,equality", "--contracts", "io\\.inlay\\.kernels\\.KernelsRefusalTest", "--results",
                page.toString());
        assertThat(said).contains("exit code 0", "PASS contracts.of-the-device ", "PASS contracts.all ", "PASS contracts ",
                "PASS equality.fp32-vs-cpu.generation-after-tuning", "PASS equality.bf16-vs-cpu.logits", "PASS equality ",
                "SKIPPED equality.fp32-vs-transformers there is no Python").doesNotContain("FAIL", "BAR");
        assertThat(page).content().startsWith("Nothing here was run on a GPU").contains("| PASS | equality.fp32-vs-cpu.logits |");
    }

    @Test
    void tests_that_are_not_of_the_device_do_not_pass_for_its_contracts() throws Exception {
        assertThat(run("--cpu", "--stages", "contracts", "--contracts", "io\\.inlay\\.kernels\\.DropoutTest")).contains("exit code 1",
                "FAIL contracts.of-the-device 0 tests of the kernels", "FAIL contracts ended with exit code 1");
    }

    @Test
    void a_gpu_that_is_not_there_is_said_to_be_missing() throws Exception {
        assumeTrue(DeviceKernels.missing(Libtorch.load(), Device.cuda(0)).isPresent(), "there is a GPU here");
        assertThat(run("--stages", "contracts")).contains("exit code 1", "FAIL contracts.device cuda:0 cannot be used: ",
                "FAIL contracts ended with exit code 1");
    }

    @Test
    void a_figure_of_a_tiny_shape_is_no_bar() {
        assertThat(Verdict.parse("BAR gpu.switch-ms 0.150 <= 0.2")).contains(new Verdict(Verdict.Kind.BAR, "gpu.switch-ms", "0.150 <= 0.2"));
        assertThat(Verdict.parse("TINY gpu.switch-ms 0.001 of a tiny shape, which means nothing").map(Verdict::kind))
                .contains(Verdict.Kind.TINY);
        assertThat(Verdict.parse("  decode, 1 stream 360 tokens/s")).isEqualTo(Optional.empty());
        assertThat(Verdict.within("x", Double.NaN, 1).kind()).isEqualTo(Verdict.Kind.FAIL);
    }

    @Test
    void the_committed_page_says_first_whether_a_gpu_ran() throws IOException {
        assertThat(Files.readAllLines(Path.of("tests/gpu/RESULTS.md")).getFirst())
                .matches("Nothing here was run: no GPU .*|# Inlay on .*");
    }

    private String run(String... arguments) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ServerProcess.neededFlags());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), DeviceRun.class.getName()));
        command.addAll(List.of(arguments));
        return output(command, Map.of("XDG_CACHE_HOME", folder.toString()));
    }

    private static String output(List<String> command, Map<String, String> environment) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().putAll(environment);
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return said + "exit code " + process.waitFor();
    }

    /** The words of a list in the pack's script. */
    private static List<String> words(String list) throws IOException {
        Matcher matcher = Pattern.compile("^" + list + "=\"([^\"]*)\"", Pattern.MULTILINE).matcher(Files.readString(PACK));
        assertThat(matcher.find()).as(list).isTrue();
        return List.of(matcher.group(1).strip().split("\\s+"));
    }
}
