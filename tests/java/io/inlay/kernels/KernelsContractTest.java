package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Every implementation that runs on this machine against the scalar reference, on random shapes, layouts and values. */
@ParameterizedClass(name = "{0}")
@MethodSource("implementations")
class KernelsContractTest {

    private static final int ROUNDS = 24;

    private static Libtorch torch;

    private final Kernels reference = new ScalarKernels();
    private final Kernels kernels;

    KernelsContractTest(CpuKernels.Candidate candidate) {
        this.kernels = candidate.kernels();
    }

    static Stream<CpuKernels.Candidate> implementations() {
        return Candidates.all();
    }

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @Test
    void embed_copies_rows_bit_for_bit() {
        contract(0, 0, (k, s) -> {
            int width = s.width();
            Tensor table = s.normal(11, width);
            Tensor out = s.empty(s.rows(), width);
            k.embed(table, s.integers(out.dim(0), 11), out);
            return List.of(out);
        });
    }

    @Test
    void embed_backward() {
        contract(1e-6, 1e-6, (k, s) -> {
            int width = s.width();
            Tensor grad = s.normal(s.rows(), width);
            Tensor table = s.normal(DType.FP32, 1, 5, width);
            k.embedBackward(grad, s.integers(grad.dim(0), 5), table);
            return List.of(table);
        });
    }

    @Test
    void rms_norm() {
        contract(1e-5, 1e-6, (k, s) -> {
            int width = s.width();
            Tensor x = s.normal(s.rows(), width);
            Tensor out = s.coin() ? x : s.empty(x.sizes());
            Tensor rstd = s.coin() ? null : s.empty(DType.FP32, x.dim(0));
            k.rmsNorm(x, s.normal(width), 1e-5f, out, rstd);
            return present(out, rstd);
        });
    }

    @Test
    void add_rms_norm_with_the_sum_in_place() {
        contract(1e-5, 1e-6, (k, s) -> {
            int width = s.width();
            Tensor x = s.normal(s.rows(), width);
            Tensor y = s.normal(x.sizes());
            Tensor sum = s.coin() ? x : s.empty(x.sizes());
            Tensor out = s.empty(x.sizes());
            Tensor rstd = s.coin() ? null : s.empty(DType.FP32, x.dim(0));
            k.addRmsNorm(x, y, sum, s.normal(width), 1e-5f, out, rstd);
            return present(sum, out, rstd);
        });
    }

    @Test
    void rms_norm_backward_adds_to_both_gradients() {
        contract(1e-5, 1e-5, (k, s) -> {
            int width = s.width();
            Tensor x = s.normal(s.rows(), width);
            Tensor grad = s.normal(x.sizes());
            Tensor gradX = s.normal(x.sizes());
            Tensor weight = s.normal(width);
            Tensor rstd = s.empty(DType.FP32, x.dim(0));
            reference.rmsNorm(x, weight, 1e-5f, s.empty(x.sizes()), rstd);
            Tensor gradWeight = s.coin() ? null : s.normal(DType.FP32, 1, width);
            k.rmsNormBackward(grad, x, weight, rstd, gradX, gradWeight);
            return present(gradX, gradWeight);
        });
    }

    @Test
    void rope_in_any_layout_of_heads() {
        contract(1e-6, 1e-6, (k, s) -> {
            int tokens = s.rows();
            int heads = s.between(1, 5);
            int d = 2 * s.between(1, 70);
            Tensor x = s.coin() ? s.normal(tokens, heads, d) : s.normal(heads, tokens, d).transpose(s.scope(), 0, 1);
            Tensor table = s.normal(DType.FP32, 1, 50, d);
            k.rope(x, table, s.integers(tokens, 50), s.coin());
            return List.of(x);
        });
    }

    @Test
    void swiglu_into_any_operand() {
        contract(1e-5, 1e-6, (k, s) -> {
            Tensor gate = s.normal(s.dtype(), 5, s.rows(), s.width());
            Tensor up = s.normal(gate.sizes());
            Tensor out = s.coin() ? s.empty(gate.sizes()) : s.coin() ? gate : up;
            k.swiGlu(gate, up, out);
            return List.of(out);
        });
    }

    @Test
    void swiglu_of_large_gates() {
        contract(1e-5, 1e-30, (k, s) -> {
            Tensor gate = s.dense(DType.FP32, new float[] {
                -1000, -104, -89, -88, -87, -20, -0f, 0, 20, 87, 88, 89, 104, 1000, -1e30f, 1e30f
            }, 2, 8);
            Tensor up = s.normal(DType.FP32, 1, 2, 8);
            k.swiGlu(gate, up, up);
            return List.of(up);
        });
    }

    @Test
    void swiglu_backward_in_place_or_not() {
        contract(1e-5, 1e-6, (k, s) -> {
            Tensor gate = s.normal(s.dtype(), 5, s.rows(), s.width());
            Tensor up = s.normal(gate.sizes());
            boolean inPlace = s.coin();
            Tensor gradGate = inPlace ? gate : s.empty(gate.sizes());
            Tensor gradUp = inPlace ? up : s.empty(gate.sizes());
            k.swiGluBackward(s.normal(gate.sizes()), gate, up, gradGate, gradUp);
            return List.of(gradGate, gradUp);
        });
    }

    @Test
    void cross_entropy_with_and_without_gradient() {
        contract(1e-5, 2e-6, (k, s) -> {
            Tensor logits = s.normal(s.dtype(), 6, s.rows(), s.width());
            Tensor losses = s.empty(DType.FP32, logits.dim(0));
            k.crossEntropy(logits, s.integers(logits.dim(0), logits.dim(1)), 0.37f, s.coin(), losses);
            return List.of(losses, logits);
        });
    }

    @Test
    void adamw_of_every_mix_of_types() {
        contract(1e-5, 1e-7, (k, s) -> {
            int n = s.width() * s.rows();
            Tensor gradient = s.normal(s.coin() ? DType.BF16 : DType.FP32, 1, n);
            Tensor master = s.normal(DType.FP32, 1, n);
            Tensor first = s.normal(DType.FP32, 1, n);
            Tensor second = s.normal(DType.FP32, 1, n);
            k.accumulate(second, second);
            Tensor squares = s.dense(DType.FP32, squares(Scope.floats(torch, second)), n);
            Tensor weight = s.empty(s.coin() ? DType.BF16 : DType.FP32, n);
            k.adamW(gradient, master, first, squares, weight,
                    new Kernels.AdamW(0.01, 0.9, 0.95, 1e-8, s.coin() ? 0 : 0.1, s.between(1, 50), 0.3));
            return List.of(master, first, squares, weight);
        });
    }

    private static float[] squares(float[] values) {
        for (int i = 0; i < values.length; i++) {
            values[i] *= values[i];
        }
        return values;
    }

    @Test
    void sum_of_squares_of_any_layout() {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(torch, round, 0)) {
                Tensor x = s.coin() ? s.normal(s.rows(), s.width()) : s.normal(3, s.rows(), s.width()).transpose(s.scope(), 0, 1);
                double expected = reference.sumOfSquares(x);
                assertThat(kernels.sumOfSquares(x)).isCloseTo(expected, Offset.offset(1e-12 * expected));
                assertThat(kernels.sumOfSquares(x)).isEqualTo(kernels.sumOfSquares(x));
            }
        }
    }

    @Test
    void sum_of_squares_neither_overflows_nor_hides_what_is_not_finite() {
        try (Samples s = new Samples(torch, 1, 0)) {
            float[] values = new float[1000];
            Arrays.fill(values, 1e30f);
            assertThat(kernels.sumOfSquares(s.dense(DType.FP32, values, 1000))).isCloseTo(1e63,
                    Percentage.withPercentage(1e-4));
            values[777] = Float.NaN;
            assertThat(kernels.sumOfSquares(s.dense(DType.FP32, values, 1000))).isNaN();
            values[777] = Float.NEGATIVE_INFINITY;
            assertThat(kernels.sumOfSquares(s.dense(DType.FP32, values, 1000))).isInfinite();
        }
    }

    @Test
    void accumulate() {
        contract(1e-6, 1e-6, (k, s) -> {
            int n = s.width() * s.rows();
            Tensor sums = s.normal(DType.FP32, 1, n);
            k.accumulate(sums, s.normal(n));
            return List.of(sums);
        });
    }

    @Test
    void add_in_any_layout_and_mix_of_types() {
        contract(1e-6, 1e-6, (k, s) -> {
            long[] sizes = {s.between(1, 4), s.rows(), s.width()};
            Tensor x = s.normal(sizes);
            Tensor y = s.coin() ? s.normal(s.coin() ? DType.BF16 : DType.FP32, 1, sizes)
                    : s.normal(sizes[1], sizes[0], sizes[2]).transpose(s.scope(), 0, 1);
            k.add(x, y);
            return List.of(x);
        });
    }

    @Test
    void block_scores() {
        contract(1e-5, 1e-6, (k, s) -> {
            int edge = s.between(1, 40);
            Tensor g = s.normal((long) edge * s.between(1, 4), (long) edge * s.between(1, 4));
            Tensor absolute = s.normal(DType.FP32, 1, g.dim(0) / edge, g.dim(1) / edge);
            Tensor signed = s.normal(DType.FP32, 1, absolute.sizes());
            k.blockAbsoluteMean(g, edge, absolute);
            k.blockMean(g, edge, signed);
            return List.of(absolute, signed);
        });
    }

    @Test
    void linear_of_any_shape() {
        contract(1e-5, 3e-5, (k, s) -> {
            int inner = s.width();
            Tensor x = s.normal(s.between(1, 20), inner);
            Tensor w = s.normal(s.between(1, 70), inner);
            Tensor y = s.empty(s.coin() ? DType.FP32 : s.dtype(), x.dim(0), w.dim(0));
            k.linear(x, w, null, y);
            return List.of(y);
        });
    }

    @Test
    void linear_and_assembly_through_tile_tables() {
        contract(1e-5, 3e-5, (k, s) -> {
            int edge = new int[] {1, 2, 5, 8, 16, 24, 32, 33, 64, 96}[s.between(0, 9)];
            Tensor x = s.normal(s.between(1, 9), (long) edge * s.between(1, 5));
            Tensor w = s.normal((long) edge * s.between(1, 4), x.dim(1));
            TileTable tiles = s.tiles(s.dtype(), w.dim(0), w.dim(1), edge);
            Tensor y = s.empty(s.coin() ? DType.FP32 : s.dtype(), x.dim(0), w.dim(0));
            k.linear(x, w, tiles, y);
            Tensor assembled = s.empty(w.sizes());
            k.assemble(w, tiles, assembled);
            return List.of(y, assembled);
        });
    }

    @Test
    void a_row_of_linear_has_the_same_bits_in_any_batch_merged_or_tiled() {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(torch, round, 0)) {
                int edge = new int[] {1, 3, 8, 16, 32, 48, 64, 128, 256}[s.between(0, 8)];
                Tensor x = s.normal(s.between(2, 19), (long) edge * s.between(1, 5));
                Tensor w = s.normal((long) edge * s.between(1, Math.max(1, 200 / edge)), x.dim(1));
                TileTable tiles = s.tiles(s.dtype(), w.dim(0), w.dim(1), edge);
                Tensor merged = s.empty(w.sizes());
                kernels.assemble(w, tiles, merged);
                Tensor tiled = s.empty(DType.FP32, x.dim(0), w.dim(0));
                kernels.linear(x, w, tiles, tiled);
                for (int m = 0; m < x.dim(0); m++) {
                    for (int batch = 1; batch <= x.dim(0) - m; batch += 3) {
                        Tensor some = s.empty(DType.FP32, batch, w.dim(0));
                        kernels.linear(x.narrow(s.scope(), 0, m, batch), merged, null, some);
                        assertThat(Scope.floats(torch, some.narrow(s.scope(), 0, 0, 1)))
                                .as("row %d of %s in a batch of %d, edge %d", m, x, batch, edge)
                                .containsExactly(Scope.floats(torch, tiled.narrow(s.scope(), 0, m, 1)));
                    }
                }
            }
        }
    }

    @Test
    void decode_attention_over_a_cache() {
        contract(1e-5, 1e-5, (k, s) -> {
            int groups = s.between(1, 4);
            int d = s.between(1, 140);
            int capacity = s.between(1, 300);
            Tensor q = s.normal((long) groups * s.between(1, 9), d);
            Tensor keys = s.normal(groups, capacity, d);
            Tensor values = s.normal(groups, capacity, d);
            Tensor out = s.empty(q.sizes());
            k.decodeAttention(q, keys, values, s.between(1, capacity), 0.3f, out);
            return List.of(out);
        });
    }

    @Test
    void causal_attention_of_packed_sequences() {
        contract(2e-5, 2e-5, (k, s) -> {
            Sequences given = Sequences.of(s);
            Tensor out = s.empty(given.q.sizes());
            Tensor sums = s.coin() ? null : s.scope().empty(DType.FP32, Device.CPU, given.q.size(1), given.q.size(0));
            k.causalAttention(given.q, given.k, given.v, given.starts, 0.3f, out, sums);
            return present(out, sums);
        });
    }

    @Test
    void causal_attention_backward() {
        contract(1e-4, 1e-4, (k, s) -> {
            Sequences given = Sequences.of(s);
            Tensor out = s.empty(given.q.sizes());
            Tensor sums = s.scope().empty(DType.FP32, Device.CPU, given.q.size(1), given.q.size(0));
            reference.causalAttention(given.q, given.k, given.v, given.starts, 0.3f, out, sums);
            Tensor gradQ = s.empty(given.q.sizes());
            Tensor gradK = s.empty(given.k.sizes());
            Tensor gradV = s.empty(given.k.sizes());
            k.causalAttentionBackward(s.finite(given.q.sizes()), given.q, given.k, given.v, out, sums, given.starts, 0.3f, gradQ, gradK, gradV);
            return List.of(gradQ, gradK, gradV);
        });
    }

    /** Heads and packed sequences of any shape, one of them empty now and then, values finite. */
    private record Sequences(Tensor q, Tensor k, Tensor v, Tensor starts) {

        static Sequences of(Samples s) {
            int groups = s.between(1, 3);
            int d = s.between(1, 140);
            int[] starts = new int[s.between(1, 4) + 1];
            for (int i = 1; i < starts.length; i++) {
                starts[i] = starts[i - 1] + s.between(i == 1 ? 1 : 0, 150);
            }
            int tokens = starts[starts.length - 1];
            Tensor q = s.finite(tokens, (long) groups * s.between(1, 3), d);
            return new Sequences(q, s.finite(tokens, groups, d), s.finite(tokens, groups, d),
                    s.scope().of(Device.CPU, starts, starts.length));
        }
    }

    @Test
    void large_operands_are_spread_over_cores_without_changing_a_result() {
        try (Samples s = new Samples(torch, 5, 0)) {
            Tensor x = s.normal(DType.BF16, 1, 300, 1500);
            Tensor y = s.normal(DType.BF16, 1, 300, 1500);
            Tensor once = s.empty(DType.BF16, x.sizes());
            Tensor again = s.empty(DType.BF16, x.sizes());
            kernels.swiGlu(x, y, once);
            reference.swiGlu(x, y, again);
            Results.expectClose("swiGlu", Scope.floats(torch, once), Scope.floats(torch, again), 1 / 128.0, 1e-6);
            double sum = kernels.sumOfSquares(x);
            assertThat(sum).isCloseTo(reference.sumOfSquares(x), Percentage.withPercentage(1e-9));
        }
    }

    @Test
    void threads_that_call_at_once_get_what_one_alone_gets() throws Exception {
        try (Samples s = new Samples(torch, 3, 0); ExecutorService callers = Executors.newFixedThreadPool(4)) {
            Tensor x = s.normal(DType.BF16, 1, 3, 512);
            Tensor w = s.normal(DType.BF16, 1, 300, 512);
            Tensor expected = s.empty(DType.FP32, 3, 300);
            kernels.linear(x, w, null, expected);
            List<Callable<float[]>> calls = new ArrayList<>();
            for (int caller = 0; caller < 4; caller++) {
                Tensor y = s.empty(DType.FP32, 3, 300);
                calls.add(() -> {
                    for (int i = 0; i < 50; i++) {
                        kernels.linear(x, w, null, y);
                    }
                    return Scope.floats(torch, y);
                });
            }
            for (Future<float[]> result : callers.invokeAll(calls)) {
                assertThat(result.get()).containsExactly(Scope.floats(torch, expected));
            }
        }
    }

    @Test
    void nothing_happens_to_no_rows() {
        try (Samples s = new Samples(torch, 3, 0)) {
            Tensor none = s.scope().empty(DType.BF16, Device.CPU, 0, 64);
            Tensor weight = s.scope().empty(DType.BF16, Device.CPU, 64);
            kernels.rmsNorm(none, weight, 1e-5f, none, null);
            kernels.swiGlu(none, none, none);
            kernels.linear(none, s.normal(DType.BF16, 1, 8, 64), null, s.scope().empty(DType.FP32, Device.CPU, 0, 8));
            kernels.add(none, none);
            assertThat(kernels.sumOfSquares(none)).isZero();
        }
    }

    // ---- the contract ----

    /**
     * Both implementations on equal operands; results of fp32 within the bounds, of bf16 within one more unit in the last place. Half of
     * the rounds have NaN and infinities among the operands.
     */
    private void contract(double relative, double absolute, Operation operation) {
        for (int round = 0; round < ROUNDS; round++) {
            float notANumberShare = round % 2 == 0 ? 0 : 0.002f;
            try (Samples ours = new Samples(torch, round, notANumberShare); Samples theirs = new Samples(torch, round, notANumberShare)) {
                List<Tensor> expected = operation.run(reference, theirs);
                List<Tensor> actual = operation.run(kernels, ours);
                for (int i = 0; i < expected.size(); i++) {
                    double lastPlace = relative > 0 && expected.get(i).dtype() == DType.BF16 ? 1 / 128.0 : relative;
                    Results.expectClose("round " + round + ", result " + i + " " + expected.get(i), Scope.floats(torch, actual.get(i)),
                            Scope.floats(torch, expected.get(i)), lastPlace, absolute);
                }
            }
        }
    }

    private static List<Tensor> present(Tensor... tensors) {
        return Stream.of(tensors).filter(tensor -> tensor != null).toList();
    }
}
