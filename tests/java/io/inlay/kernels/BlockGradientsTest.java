package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of selected blocks, by every implementation. */
class BlockGradientsTest {

    private static final Libtorch TORCH = Libtorch.load();

    static Stream<Named<Kernels>> all() {
        return Candidates.named();
    }

    @ParameterizedTest
    @MethodSource("all")
    void blocks_of_any_shape_and_type(Kernels kernels) {
        for (int round = 0; round < 12; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                int edge = new int[] {1, 3, 8, 24, 33, 64, 72, 128}[s.between(0, 7)];
                Tensor grad = s.normal(s.between(1, 90), (long) edge * s.between(1, 3));
                Tensor x = s.normal(grad.size(0), (long) edge * s.between(1, 3));
                List<BlockCoordinate> blocks = blocks(s, grad.dim(1) / edge, x.dim(1) / edge, s.between(1, 5));
                DType type = s.coin() ? DType.FP32 : s.dtype();
                Tensor actual = s.scope().empty(type, Device.CPU, blocks.size(), edge, edge);
                Tensor expected = s.scope().empty(type, Device.CPU, blocks.size(), edge, edge);
                kernels.blockGradients(grad, x, blocks, edge, actual);
                new ScalarKernels().blockGradients(grad, x, blocks, edge, expected);
                Results.expectClose("round " + round + ", edge " + edge, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected),
                        type == DType.BF16 ? 1 / 128.0 : 1e-5, 3e-5);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void a_block_has_the_bits_among_many_that_it_has_alone(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            int edge = 128;
            Tensor grad = s.scope().copyTo(s.normal(DType.BF16, 1, 40, 12 * edge), DType.BF16, Device.CPU);
            Tensor x = s.scope().copyTo(s.normal(DType.BF16, 1, 40, 11 * edge), DType.BF16, Device.CPU);
            List<BlockCoordinate> blocks = new ArrayList<>();
            for (int b = 0; b < 12 * 11; b++) {
                blocks.add(new BlockCoordinate(b % 12, b / 12));
            }
            Tensor all = s.scope().empty(DType.BF16, Device.CPU, blocks.size(), edge, edge);
            kernels.blockGradients(grad, x, blocks, edge, all);
            for (int b = 5; b < blocks.size(); b += 60) {
                Tensor alone = s.scope().empty(DType.BF16, Device.CPU, 1, edge, edge);
                kernels.blockGradients(grad, x, blocks.subList(b, b + 1), edge, alone);
                assertThat(Scope.floats(TORCH, all.narrow(s.scope(), 0, b, 1))).containsExactly(Scope.floats(TORCH, alone));
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void blocks_that_lie_outside_are_refused(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            Tensor grad = s.normal(DType.BF16, 1, 4, 64);
            Tensor gradients = s.scope().empty(DType.BF16, Device.CPU, 1, 32, 32);
            assertThatThrownBy(() -> kernels.blockGradients(grad, grad, List.of(new BlockCoordinate(1, 2)), 32, gradients))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("lies outside");
            assertThatThrownBy(() -> kernels.blockGradients(grad, grad, List.of(), 32, gradients))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageContaining("gradients must be [0, 32, 32]");
        }
    }

    private static List<BlockCoordinate> blocks(Samples s, int rows, int columns, int count) {
        List<BlockCoordinate> blocks = new ArrayList<>();
        for (int b = 0; b < count; b++) {
            blocks.add(new BlockCoordinate(s.between(0, rows - 1), s.between(0, columns - 1)));
        }
        return blocks;
    }
}
