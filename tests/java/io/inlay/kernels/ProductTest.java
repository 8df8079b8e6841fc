package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Products of many rows: those in C bit for bit against sums made one by one, and against libtorch's. */
class ProductTest {

    private static final int ROUNDS = 40;
    private static final int[] SIZES = {1, 2, 5, 11, 12, 13, 16, 31, 32, 33, 64, 100, 255, 256, 257, 300, 390};
    private static final Libtorch TORCH = Libtorch.load();

    private static Stream<CpuKernels.Candidate> inC() {
        return CpuKernels.candidates().stream().filter(each -> each.kernels() instanceof NativeKernels);
    }

    /** An operand [rows, columns] as any of the views that products see: as it is, transposed, or of a wider matrix. */
    private static Tensor operand(Scope scope, Random random, DType type, int rows, int columns) {
        boolean transposed = random.nextBoolean();
        int wider = random.nextInt(3);
        float[] values = new float[(transposed ? rows + wider : columns + wider) * (transposed ? columns : rows)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        Tensor whole = scope.of(Device.CPU, values, transposed ? columns : rows, transposed ? rows + wider : columns + wider);
        Tensor typed = scope.copyTo(whole, type, Device.CPU);
        Tensor part = typed.narrow(scope, 1, 0, transposed ? rows : columns);
        return transposed ? part.transpose(scope, 0, 1) : part;
    }

    @ParameterizedTest
    @MethodSource("inC")
    void every_element_is_one_chain_of_fused_multiply_adds(CpuKernels.Candidate candidate) {
        NativeKernels kernels = (NativeKernels) candidate.kernels();
        for (int round = 0; round < ROUNDS; round++) {
            Random random = new Random(round);
            DType type = random.nextBoolean() ? DType.BF16 : DType.FP32;
            int m = SIZES[random.nextInt(SIZES.length)];
            int n = SIZES[random.nextInt(SIZES.length)];
            int k = SIZES[random.nextInt(SIZES.length)];
            boolean add = random.nextBoolean();
            try (Scope scope = new Scope(TORCH)) {
                Tensor a = operand(scope, random, type, m, k);
                Tensor b = operand(scope, random, type, k, n);
                int wider = random.nextInt(3);
                Tensor out = scope.zeros(type, Device.CPU, m, n + wider).narrow(scope, 1, 0, n);
                TORCH.copy(out, operand(scope, random, type, m, n));
                float[] left = Scope.floats(TORCH, a);
                float[] right = Scope.floats(TORCH, b);
                float[] expected = Scope.floats(TORCH, out);
                for (int i = 0; i < m; i++) {
                    for (int j = 0; j < n; j++) {
                        float sum = add ? expected[i * n + j] : 0;
                        for (int x = 0; x < k; x++) {
                            sum = Math.fma(left[i * k + x], right[x * n + j], sum);
                        }
                        expected[i * n + j] = type == DType.BF16 ? BFloat16.toFloat(BFloat16.fromFloat(sum)) : sum;
                    }
                }
                kernels.ownProduct(out, a, b, add);
                assertThat(Scope.floats(TORCH, out)).as("%s, %d x %d x %d, %s, round %d", type, m, k, n, add, round).isEqualTo(expected);
            }
        }
    }

    @Test
    void products_of_this_machine_are_those_of_libtorch_but_for_rounding() {
        Kernels kernels = CpuKernels.best();
        Random random = new Random(7);
        try (Scope scope = new Scope(TORCH)) {
            Tensor a = operand(scope, random, DType.BF16, 450, 600);
            Tensor b = operand(scope, random, DType.BF16, 600, 4200);
            Tensor out = scope.empty(DType.BF16, Device.CPU, 450, 4200);
            Tensor theirs = scope.empty(DType.BF16, Device.CPU, 450, 4200);
            kernels.product(out, a, b, false);
            TORCH.mm(theirs, a, b);
            float[] expected = Scope.floats(TORCH, theirs);
            float[] actual = Scope.floats(TORCH, out);
            for (int i = 0; i < actual.length; i++) {
                // A sum of 600 products of deviation 1 is some 25; its bf16 neighbours are up to 1/128 of it apart.
                assertThat(Math.abs(actual[i] - expected[i])).as("element %d", i).isLessThanOrEqualTo(Math.abs(expected[i]) / 100 + 1e-3f);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("inC")
    void operands_that_do_not_fit_each_other_are_refused(CpuKernels.Candidate candidate) {
        NativeKernels kernels = (NativeKernels) candidate.kernels();
        try (Scope scope = new Scope(TORCH)) {
            Tensor a = scope.zeros(DType.BF16, Device.CPU, 3, 4);
            Tensor b = scope.zeros(DType.BF16, Device.CPU, 5, 6);
            Tensor out = scope.zeros(DType.BF16, Device.CPU, 3, 6);
            assertThatThrownBy(() -> kernels.ownProduct(out, a, b, false)).hasMessageContaining("a [M, K], b [K, N], out [M, N]");
        }
    }
}
