package io.inlay.kernels;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Arrays;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** The tests of a process of {@link MadeGpu}, which are named by their classes: a line for each, {@link #PASSED} or not. */
final class MadeGpuRun {

    static final String PASSED = "PASSED ";
    static final String FAILED = "FAILED ";
    /** Between a failure's name and its words, and between their lines. */
    static final String BREAK = " \u00b6 ";
    static final String ENDED = "ENDED";

    private MadeGpuRun() {
    }

    public static void main(String[] classes) {
        LauncherFactory.create().execute(LauncherDiscoveryRequestBuilder.request()
                .selectors(Arrays.stream(classes).map(each -> selectClass(each)).toList()).build(), new Said());
        System.out.println(ENDED);
        System.exit(0);
    }

    private static final class Said implements TestExecutionListener {
        private TestPlan plan;

        @Override
        public void testPlanExecutionStarted(TestPlan started) {
            plan = started;
        }

        /** What is passed over here would be tested nowhere. */
        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            System.out.println(FAILED + path(test) + BREAK + "skipped: " + reason);
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            if (result.getStatus() != TestExecutionResult.Status.SUCCESSFUL) {
                StringWriter words = new StringWriter();
                result.getThrowable().ifPresent(failure -> failure.printStackTrace(new PrintWriter(words)));
                System.out.println(FAILED + path(test) + BREAK + words.toString().replace("\n", BREAK));
            } else if (test.isTest()) {
                System.out.println(PASSED + path(test));
            }
        }

        private String path(TestIdentifier test) {
            String own = test.getDisplayName().replace("()", "");
            return plan.getParent(test).filter(each -> each.getParentId().isPresent()).map(each -> path(each) + " " + own).orElse(own);
        }
    }
}
