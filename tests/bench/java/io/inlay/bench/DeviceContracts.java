package io.inlay.bench;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import io.inlay.Problem;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.TestedDevice;
import io.inlay.tensor.Libtorch;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * The kernels' own tests on a machine that has no build: {@code DeviceContracts DEVICE [CLASS_PATTERN]}. Every implementation that runs
 * here is held to the scalar reference, a GPU's over copies of the operands there; that the device's was among them is checked too, since
 * tests that were not there fail nowhere.
 */
final class DeviceContracts {

    /** All tests of kernels but those that need a compiler, and those of what is the host's alone: int8 linears, the reference's draws. */
    static final String KERNEL_TESTS = "io\\.inlay\\.kernels\\.(?!.*(CudaDecoding|CudaLists|Graphed|Host|Int8|ScalarDraws))"
            + ".*(Contract|Cuda|Draws|Gradients|Kernels|OnDevice|RopeAndKeep).*Test";

    private DeviceContracts() {
    }

    public static void main(String[] arguments) {
        Kernels kernels;
        try {
            kernels = BenchDevice.named(arguments[0]).kernels(Libtorch.load());
        } catch (Problem missing) {
            Verdict.of(false, "contracts.device", missing.getMessage()).say();
            System.exit(1);
            return;
        }
        System.setProperty(TestedDevice.SETTING, arguments[0]);
        String pattern = arguments.length > 1 ? arguments[1] : KERNEL_TESTS;
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request().selectors(selectPackage("io.inlay.kernels"))
                .filters(ClassNameFilter.includeClassNamePatterns(pattern)).build();
        Heard heard = new Heard(kernels.name());
        LauncherFactory.create().execute(request, heard);
        boolean passed = heard.failures.isEmpty() && heard.ofDevice > 0;
        Verdict.of(heard.ofDevice > 0, "contracts.of-the-device", heard.ofDevice + " tests of the kernels '" + kernels.name() + "'").say();
        heard.failures.forEach(Verdict::say);
        Verdict.of(heard.failures.isEmpty() && heard.passed > 0, "contracts.all",
                heard.passed + " tests passed, " + heard.failures.size() + " failed, " + heard.skipped + " were skipped").say();
        System.exit(passed ? 0 : 1);
    }

    private static final class Heard implements TestExecutionListener {
        private final String device;
        private final List<Verdict> failures = new ArrayList<>();
        private TestPlan plan;
        private int passed;
        private int skipped;
        private int ofDevice;

        private Heard(String device) {
            this.device = device;
        }

        @Override
        public void testPlanExecutionStarted(TestPlan started) {
            plan = started;
        }

        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            skipped++;
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            switch (result.getStatus()) {
                case SUCCESSFUL -> {
                    if (test.isTest()) {
                        passed++;
                        ofDevice += path(test).contains(device) ? 1 : 0;
                    }
                }
                case ABORTED -> skipped++;
                case FAILED -> {
                    Throwable cause = result.getThrowable().orElseThrow();
                    StringWriter trace = new StringWriter();
                    cause.printStackTrace(new PrintWriter(trace));
                    System.err.println(path(test) + "\n" + trace);
                    failures.add(Verdict.of(false, "contracts." + test.getDisplayName().replace(' ', '_'),
                            path(test) + ": " + cause.toString().replaceAll("\\s+", " ")));
                }
            }
        }

        /** Class, implementation and test: {@code KernelsContractTest / native avx512 / rope()}. */
        private String path(TestIdentifier test) {
            return plan.getParent(test).filter(parent -> plan.getParent(parent).isPresent())
                    .map(parent -> path(parent) + " / " + test.getDisplayName()).orElse(test.getDisplayName());
        }
    }
}
