package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import io.inlay.tensor.HostUploadOnMadeGpu;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What goes through JCuda and through the driver's C functions, in a process whose driver is the stand-in of tests/cuda/driver. */
class MadeGpuTest {

    private static final List<Class<?>> RULES = List.of(DriverRulesOnMadeGpu.class, CaptureRulesOnMadeGpu.class,
            JCudaLauncherOnMadeGpu.class, JCudaGraphsOnMadeGpu.class, HostUploadOnMadeGpu.class);
    /** Tests that run elsewhere too, here through JCuda. */
    private static final List<Class<?>> CONTRACTS = List.of(KernelsContractTest.class, PagedKernelsTest.class, CudaDecodingTest.class);
    private static final int MOST_SECONDS = 300;

    @TestFactory
    List<DynamicTest> the_drivers_rules_are_kept() throws Exception {
        return run(RULES);
    }

    @TestFactory
    List<DynamicTest> kernels_give_the_reference_through_jcuda() throws Exception {
        return run(CONTRACTS);
    }

    private static List<DynamicTest> run(List<Class<?>> tests) throws Exception {
        Optional<Path> driver = MadeGpu.build();
        assumeTrue(driver.isPresent(), "there is no C++ compiler, which makes the driver");
        Process process = MadeGpu.start(driver.get(), tests);
        CompletableFuture<List<String>> reading = CompletableFuture.supplyAsync(() -> process.inputReader().lines().toList());
        if (!process.waitFor(MOST_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly();
        }
        List<String> said = reading.get();
        List<DynamicTest> all = new ArrayList<>();
        all.add(dynamicTest("the process ends by itself, all tests run", () -> {
            assertThat(said).as("what it said").contains(MadeGpuRun.ENDED);
            assertThat(process.exitValue()).isZero();
            for (Class<?> each : tests) {
                assertThat(said).as("tests of " + each).anyMatch(line -> line.startsWith(MadeGpuRun.PASSED + each.getSimpleName()));
            }
        }));
        for (String line : said) {
            if (line.startsWith(MadeGpuRun.PASSED)) {
                all.add(dynamicTest(line.substring(MadeGpuRun.PASSED.length()), () -> { }));
            } else if (line.startsWith(MadeGpuRun.FAILED)) {
                String[] part = line.substring(MadeGpuRun.FAILED.length()).split(MadeGpuRun.BREAK, 2);
                all.add(dynamicTest(part[0], () -> Assertions.fail(part[1].replace(MadeGpuRun.BREAK, "\n"))));
            }
        }
        return all;
    }
}
