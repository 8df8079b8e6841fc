package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The likeliest token and the logarithms of probabilities, by every implementation. */
class ArgmaxTest {

    private static final Libtorch TORCH = Libtorch.load();

    static Stream<Named<Kernels>> all() {
        return Candidates.named();
    }

    @ParameterizedTest
    @MethodSource("all")
    void the_lowest_of_the_largest_wins(Kernels kernels) {
        for (int round = 0; round < 8; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                Tensor logits = s.normal(s.between(1, 3), s.between(1, 5000));
                int[] expected = new int[logits.dim(0)];
                float[] values = Scope.floats(TORCH, logits);
                for (int r = 0; r < expected.length; r++) {
                    for (int v = 0; v < logits.dim(1); v++) {
                        expected[r] = values[r * logits.dim(1) + v] > values[r * logits.dim(1) + expected[r]] ? v : expected[r];
                    }
                }
                assertThat(argmax(kernels, s, logits)).containsExactly(expected);
            }
        }
        try (Samples s = new Samples(TORCH, 0, 0)) {
            float[] values = new float[3000];
            values[1234] = values[1235] = values[17] = values[2999] = 3;
            assertThat(argmax(kernels, s, s.dense(DType.FP32, values, 1, 3000))).containsExactly(17);
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void the_first_that_is_no_logit_is_told(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 0, 0)) {
            float[] values = new float[4 * 2000];
            values[1500] = Float.NaN;
            values[700] = Float.POSITIVE_INFINITY;
            values[2000 + 1999] = Float.NaN;
            Arrays.fill(values, 4000, 6000, Float.NEGATIVE_INFINITY);
            Arrays.fill(values, 6000, 8000, Float.NEGATIVE_INFINITY);
            values[7999] = -5;
            assertThat(argmax(kernels, s, s.dense(DType.BF16, values, 4, 2000))).containsExactly(-701, -2000, -1, 1999);
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void logarithms_of_probabilities(Kernels kernels) {
        for (int round = 0; round < 6; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                Tensor logits = s.normal(s.dtype(), 6, s.between(1, 3), s.between(1, 3000));
                Tensor actual = s.empty(DType.FP32, logits.sizes());
                Tensor expected = s.empty(DType.FP32, logits.sizes());
                kernels.logSoftmax(logits, actual);
                new ScalarKernels().logSoftmax(logits, expected);
                Results.expectClose("round " + round, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), 1e-6, 1e-6);
            }
        }
    }

    private static int[] argmax(Kernels kernels, Samples s, Tensor logits) {
        Tensor ids = s.scope().of(Device.CPU, new int[logits.dim(0)], logits.dim(0));
        kernels.argmax(logits, ids);
        int[] result = new int[logits.dim(0)];
        for (int r = 0; r < result.length; r++) {
            result[r] = ids.segment().get(JAVA_INT_UNALIGNED, 4L * r);
        }
        return result;
    }
}
