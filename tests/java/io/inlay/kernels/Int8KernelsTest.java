package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Linears over weights in bytes: every implementation against the scalar reference, and what bytes are of a weight. */
@ParameterizedClass(name = "{0}")
@MethodSource("implementations")
class Int8KernelsTest {

    private static final int ROUNDS = 20;
    private static final int[] EDGES = {1, 2, 5, 8, 16, 24, 32, 33, 64, 96};
    private static final Libtorch TORCH = Libtorch.load();

    private final Kernels reference = new ScalarKernels();
    private final Kernels kernels;

    Int8KernelsTest(CpuKernels.Candidate candidate) {
        this.kernels = candidate.kernels();
    }

    static Stream<CpuKernels.Candidate> implementations() {
        return CpuKernels.candidates().stream();
    }

    @ParameterizedTest
    @ValueSource(doubles = {0, 0.002})
    void linear_of_any_shape_is_that_of_the_reference(double notANumberShare) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, (float) notANumberShare)) {
                int inner = s.width();
                Tensor x = s.normal(s.between(1, 40), inner);
                Int8Weight w = weight(s, s.between(1, 70), inner);
                expectEqual(s, x, w, null, "round " + round);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(doubles = {0, 0.002})
    void blocks_stand_in_with_their_own_values_whatever_their_edges(double notANumberShare) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, (float) notANumberShare)) {
                int edge = EDGES[s.between(0, EDGES.length - 1)];
                int largest = edge * s.between(1, 3);
                Tensor x = s.normal(s.between(1, 20), (long) largest * s.between(1, 5));
                Int8Weight w = weight(s, largest * s.between(1, 4), x.dim(1));
                TileTable one = s.tiles(s.dtype(), w.values().dim(0), x.dim(1), edge);
                TileTable other = s.tiles(s.dtype(), w.values().dim(0), x.dim(1), largest);
                List<TileTable> tiles = new ArrayList<>();
                for (int m = 0; m < x.dim(0); m++) {
                    tiles.add(new TileTable[] {null, one, other}[s.between(0, 2)]);
                }
                expectEqual(s, x, w, tiles, "round " + round + ", edges " + edge + " and " + largest);
            }
        }
    }

    /** Blocks that the bytes could not hold: were a value rounded to them, or scaled, it would show. */
    @Test
    void a_block_of_values_far_from_the_base_counts_exactly() {
        try (Samples s = new Samples(TORCH, 2, 0)) {
            int edge = 32;
            Tensor x = s.dense(DType.BF16, ones(64), 1, 64);
            float[] weights = new float[64 * 64];
            Arrays.fill(weights, 127);
            Int8Weight w = Int8Weight.of(s.dense(DType.BF16, weights, 64, 64), s.scope());
            float[] values = new float[edge * edge];
            for (int i = 0; i < values.length; i++) {
                values[i] = i % edge == 0 ? 4096 : 0.0078125f * (i / edge);
            }
            Tensor block = s.dense(DType.BF16, values, edge, edge);
            TileTable tiles = TileTable.of(s.arena(), 64, 64, edge, List.of(new io.inlay.delta.BlockCoordinate(1, 0)), block.segment(), 2);
            Tensor y = s.scope().empty(DType.FP32, Device.CPU, 1, 64);
            kernels.linearInt8(x, w, List.of(tiles), y);
            float[] results = Scope.floats(TORCH, y);
            assertThat(results[0]).isEqualTo(64 * 127);
            for (int r = 0; r < edge; r++) {
                assertThat(results[edge + r]).isEqualTo(32 * 127 + 4096 + 31 * 0.0078125f * r);
            }
        }
    }

    private static float[] ones(int count) {
        float[] values = new float[count];
        Arrays.fill(values, 1);
        return values;
    }

    @Test
    void a_row_has_the_same_bits_in_any_batch_and_beside_any_table() {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                int smallest = EDGES[s.between(0, EDGES.length - 1)];
                int largest = smallest * (1 << s.between(0, 2));
                Tensor x = s.normal(s.between(2, 40), (long) largest * s.between(1, 4));
                Int8Weight w = weight(s, largest * s.between(1, 3), x.dim(1));
                List<TileTable> distinct = new ArrayList<>();
                distinct.add(null);
                for (int i = 0; i < 3; i++) {
                    distinct.add(s.tiles(s.dtype(), w.values().dim(0), x.dim(1), s.coin() ? smallest : largest));
                }
                List<TileTable> tiles = new ArrayList<>();
                for (int m = 0; m < x.dim(0); m++) {
                    tiles.add(distinct.get(s.between(0, 3)));
                }
                Tensor together = s.scope().empty(DType.FP32, Device.CPU, x.dim(0), w.values().dim(0));
                kernels.linearInt8(x, w, tiles, together);
                for (int m = 0; m < x.dim(0); m++) {
                    for (int batch = 1; batch <= x.dim(0) - m; batch += 11) {
                        Tensor some = s.scope().empty(DType.FP32, Device.CPU, batch, w.values().dim(0));
                        kernels.linearInt8(x.narrow(s.scope(), 0, m, batch), w, tiles.subList(m, m + batch), some);
                        assertThat(Scope.floats(TORCH, some.narrow(s.scope(), 0, 0, 1)))
                                .as("round %d row %d in a batch of %d", round, m, batch).containsExactly(Scope.floats(TORCH, together.narrow(s.scope(), 0, m, 1)));
                    }
                }
            }
        }
    }

    @Test
    void dequantised_weights_have_the_bits_of_the_formula() {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                int edge = EDGES[s.between(0, EDGES.length - 1)];
                int inner = edge * s.between(1, 9);
                Int8Weight w = weight(s, edge * s.between(1, 5), inner);
                TileTable tiles = s.coin() ? null : s.tiles(s.dtype(), w.values().dim(0), inner, edge);
                Tensor expected = s.empty(w.values().sizes());
                Tensor actual = s.empty(w.values().sizes());
                reference.dequantise(w, tiles, expected);
                kernels.dequantise(w, tiles, actual);
                assertThat(Scope.floats(TORCH, actual)).as("round %d", round).containsExactly(Scope.floats(TORCH, expected));
            }
        }
    }

    @Test
    void large_weights_are_spread_over_cores_without_changing_a_result() {
        try (Samples s = new Samples(TORCH, 4, 0)) {
            Tensor x = s.normal(DType.BF16, 1, 16, 1024);
            Int8Weight w = Int8Weight.of(s.normal(DType.BF16, 1, 1500, 1024), s.scope());
            Tensor first = s.scope().empty(DType.FP32, Device.CPU, 16, 1500);
            kernels.linearInt8(x, w, null, first);
            for (int i = 0; i < 10; i++) {
                Tensor again = s.scope().empty(DType.FP32, Device.CPU, 16, 1500);
                kernels.linearInt8(x, w, null, again);
                assertThat(Scope.floats(TORCH, again)).containsExactly(Scope.floats(TORCH, first));
            }
        }
    }

    @Test
    void bytes_are_the_nearest_steps_with_ties_to_even_and_the_largest_is_127() {
        try (Scope scope = new Scope(TORCH)) {
            Tensor w = scope.of(Device.CPU, new float[] {254, -254, 1, -1, 3, 5, 4.9f, 0, 0, 0, 0, 0, 0, 0, 0, -0f}, 2, 8);
            Int8Weight bytes = Int8Weight.of(w, scope);
            assertThat(Scope.floats(TORCH, bytes.scales())).containsExactly(2, 0);
            assertThat(bytes.values().segment().toArray(ValueLayout.JAVA_BYTE))
                    .containsExactly(127, -127, 0, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0);
            assertThat(bytes.bytes()).isEqualTo(16 + 8);
        }
    }

    @Test
    void no_weight_is_further_off_than_half_a_step() {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                Tensor w = s.normal(s.rows(), s.width());
                Int8Weight bytes = Int8Weight.of(w, s.scope());
                Tensor back = s.scope().empty(DType.FP32, Device.CPU, w.sizes());
                kernels.dequantise(bytes, null, back);
                float[] exact = Scope.floats(TORCH, w);
                float[] near = Scope.floats(TORCH, back);
                float[] scales = Scope.floats(TORCH, bytes.scales());
                for (int i = 0; i < exact.length; i++) {
                    assertThat(Math.abs(exact[i] - near[i])).isLessThanOrEqualTo(scales[i / w.dim(1)] * 0.50001f);
                }
            }
        }
    }

    @Test
    void what_does_not_fit_is_refused() {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            Tensor w = s.dense(DType.BF16, ones(64), 8, 8);
            Int8Weight bytes = Int8Weight.of(w, s.scope());
            Tensor x = s.dense(DType.BF16, ones(16), 2, 8);
            Tensor y = s.dense(DType.BF16, ones(16), 2, 8);
            refused(() -> kernels.linearInt8(s.dense(DType.BF16, ones(14), 2, 7), bytes, null, y),
                    "linearInt8: x [M, K], values [O, K], y [M, O]; given x bf16[2, 7] cpu, values int8[8, 8] cpu, scales fp32[8] cpu, "
                            + "y bf16[2, 8] cpu");
            refused(() -> kernels.linearInt8(x, bytes, Collections.nCopies(3, null), y),
                    "linearInt8: tile tables must be one for each row of x");
            refused(() -> kernels.linearInt8(x, bytes, Collections.nCopies(2, s.tiles(DType.FP32, 8, 8, 4)), y),
                    "linearInt8: the tile table's elements have 4 bytes");
            refused(() -> kernels.dequantise(bytes, s.tiles(DType.BF16, 16, 8, 4), s.dense(DType.BF16, ones(64), 8, 8)),
                    "dequantise: the tile table is for a weight of 16 x 8");
            refused(() -> new Int8Weight(w, bytes.scales()),
                    "the values of an int8 weight are int8 [O, K] on the cpu with dense rows, not bf16[8, 8] cpu");
            refused(() -> new Int8Weight(bytes.values(), s.dense(DType.FP32, ones(7), 7)),
                    "the scales of an int8 weight are fp32 [O] on the cpu");
            for (float value : new float[] {Float.NaN, Float.NEGATIVE_INFINITY}) {
                float[] values = ones(64);
                values[8 * 3 + 5] = value;
                refused(() -> Int8Weight.of(s.dense(DType.BF16, values, 8, 8), s.scope()),
                        "row 3 of bf16[8, 8] cpu has a value that is not finite, so it has no int8 form");
            }
        }
    }

    private static void refused(org.assertj.core.api.ThrowableAssert.ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith(message);
    }

    /** Of finite normal values, its bytes in rows apart when the sample is strided. */
    private static Int8Weight weight(Samples s, int outputs, int inner) {
        Int8Weight dense = Int8Weight.of(s.finite(outputs, inner), s.scope());
        Tensor apart = s.empty(DType.INT8, outputs, inner);
        TORCH.copy(apart, dense.values());
        return new Int8Weight(apart, dense.scales());
    }

    private void expectEqual(Samples s, Tensor x, Int8Weight w, List<TileTable> tiles, String what) {
        DType type = s.coin() ? DType.FP32 : s.dtype();
        Tensor expected = s.empty(type, x.dim(0), w.values().dim(0));
        Tensor actual = s.empty(type, x.dim(0), w.values().dim(0));
        reference.linearInt8(x, w, tiles, expected);
        kernels.linearInt8(x, w, tiles, actual);
        Results.expectClose(what, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), type == DType.BF16 ? 1 / 128.0 : 1e-5, 5e-5);
    }
}
