package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;

/** Comparison of two implementations' results. */
final class Results {

    private Results() {
    }

    /** Every element within {@code absolute + relative |expected|}; NaN and infinities must stand at the same places. */
    static void expectClose(String what, float[] actual, float[] expected, double relative, double absolute) {
        assertThat(actual.length).as(what + ": elements").isEqualTo(expected.length);
        for (int i = 0; i < expected.length; i++) {
            double bound = absolute + relative * Math.abs(expected[i]);
            boolean same = Float.isFinite(expected[i]) ? Math.abs((double) actual[i] - expected[i]) <= bound
                    : Float.compare(actual[i], expected[i]) == 0;
            if (!same) {
                fail("%s[%d] is %s, the reference has %s (bound %s)", what, i, actual[i], expected[i], bound);
            }
        }
    }
}
