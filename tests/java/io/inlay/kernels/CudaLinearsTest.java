package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** CUDA's linears at the sizes that choose among their entries, which the contract's small shapes do not reach. */
class CudaLinearsTest {

    private static final Libtorch TORCH = Libtorch.load();
    private static Optional<HostLauncher> host;
    private static Kernels cuda;

    @BeforeAll
    static void find() {
        TestedCuda found = TestedCuda.required();
        host = found.host();
        cuda = found.kernels();
    }

    @ParameterizedTest
    @CsvSource({"256, 384, 64", "384, 768, 128", "256, 520, 0", "77, 1032, 0", "4096, 256, 256", "4160, 320, 64"})
    void a_row_has_the_bits_in_every_batch_that_it_has_alone_whatever_the_tables_beside_it(int outputs, int inputs, int edge) {
        int rows = 70;
        try (Samples s = new Samples(TORCH, outputs, 0)) {
            Tensor x = dense(s, rows, inputs);
            Tensor w = dense(s, outputs, inputs);
            List<TileTable> distinct = new ArrayList<>();
            distinct.add(null);
            for (int i = 0; edge > 0 && i < 3; i++) {
                distinct.add(s.tiles(DType.BF16, outputs, inputs, edge));
            }
            List<TileTable> tiles = new ArrayList<>();
            for (int m = 0; m < rows; m++) {
                tiles.add(distinct.get(s.between(0, distinct.size() - 1)));
            }
            float[][] alone = new float[rows][];
            for (int m = 0; m < rows; m++) {
                alone[m] = mixed(s, x.narrow(s.scope(), 0, m, 1), w, tiles.subList(m, m + 1))[0];
            }
            for (int batch : new int[] {2, 8, 9, 32, 33, 64, 70}) {
                float[][] together = mixed(s, x.narrow(s.scope(), 0, rows - batch, batch), w, tiles.subList(rows - batch, rows));
                for (int m = 0; m < batch; m++) {
                    assertThat(together[m]).as("row %d of %d", m, batch).containsExactly(alone[rows - batch + m]);
                }
            }
        }
    }

    private static float[][] mixed(Samples s, Tensor x, Tensor w, List<TileTable> tiles) {
        Tensor y = s.scope().empty(DType.FP32, Device.CPU, x.size(0), w.size(0));
        cuda.linearMixed(x, w, tiles, y);
        float[] all = Scope.floats(TORCH, y);
        float[][] rows = new float[x.dim(0)][];
        for (int m = 0; m < rows.length; m++) {
            rows[m] = Arrays.copyOfRange(all, m * w.dim(0), (m + 1) * w.dim(0));
        }
        return rows;
    }

    @ParameterizedTest
    @CsvSource({"1, 130, 640", "8, 4128, 136", "20, 200, 520", "30, 4100, 72", "40, 65, 136", "64, 4224, 136", "9, 16448, 24",
        "64, 16448, 24"})
    void every_entry_gives_what_the_reference_gives(int rows, int outputs, int inputs) {
        try (Samples s = new Samples(TORCH, rows, 0)) {
            Tensor x = dense(s, rows, inputs);
            Tensor w = dense(s, outputs, inputs);
            Tensor actual = s.scope().empty(DType.FP32, Device.CPU, rows, outputs);
            Tensor expected = s.scope().empty(DType.FP32, Device.CPU, rows, outputs);
            cuda.linear(x, w, null, actual);
            new ScalarKernels().linear(x, w, null, expected);
            Results.expectClose("linear", Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), 1e-5, 3e-5);
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 3200, 512, 512, 256, 0", "8, 3200, 512, 512, 256, 128", "5, 128, 64, 64, 1088, 64", "20, 3200, 520, 512, 72, 0",
        "32, 4096, 256, 256, 128, 128", "64, 4096, 64, 64, 128, 64", "70, 16192, 200, 8, 24, 0", "70, 16384, 64, 64, 64, 64"})
    void weights_of_one_launch_or_of_several_have_the_bits_that_each_has_alone(int rows, int first, int second, int third, int inputs,
            int edge) {
        try (Samples s = new Samples(TORCH, rows, 0)) {
            Tensor x = dense(s, rows, inputs);
            List<Tensor> weights = List.of(dense(s, first, inputs), dense(s, second, inputs), dense(s, third, inputs));
            List<List<TileTable>> tiles = new ArrayList<>();
            List<Tensor> together = new ArrayList<>();
            for (Tensor w : weights) {
                TileTable own = edge == 0 ? null : s.tiles(DType.BF16, w.dim(0), inputs, edge);
                tiles.add(Stream.generate(() -> s.coin() ? own : null).limit(rows).toList());
                together.add(s.scope().empty(DType.BF16, Device.CPU, rows, w.dim(0)));
            }
            cuda.linears(x, weights, tiles, together);
            for (int i = 0; i < weights.size(); i++) {
                Tensor alone = s.scope().empty(DType.BF16, Device.CPU, rows, weights.get(i).dim(0));
                cuda.linearMixed(x, weights.get(i), tiles.get(i), alone);
                assertThat(Arrays.mismatch(Scope.floats(TORCH, together.get(i)), Scope.floats(TORCH, alone)))
                        .as("weight %d: the first that differs", i).isEqualTo(-1);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 4128, 136", "8, 8256, 24", "8, 72, 1032", "20, 520, 136", "64, 8200, 24", "70, 65, 136"})
    void a_gated_linear_has_the_bits_of_three_operations(int rows, int outputs, int inputs) {
        try (Samples s = new Samples(TORCH, rows, 0)) {
            Tensor x = dense(s, rows, inputs);
            Tensor gate = dense(s, outputs, inputs);
            Tensor up = dense(s, outputs, inputs);
            Tensor together = s.scope().empty(DType.BF16, Device.CPU, rows, outputs);
            Tensor gated = s.scope().empty(DType.BF16, Device.CPU, rows, outputs);
            Tensor product = s.scope().empty(DType.BF16, Device.CPU, rows, outputs);
            cuda.gatedLinear(x, gate, up, product, together);
            cuda.linear(x, gate, null, gated);
            cuda.linear(x, up, null, product);
            cuda.swiGlu(gated, product, gated);
            assertThat(Arrays.mismatch(Scope.floats(TORCH, together), Scope.floats(TORCH, gated))).as("the first that differs")
                    .isEqualTo(-1);
        }
    }

    @Test
    void what_is_not_finite_in_the_base_does_not_reach_rows_that_have_a_block_there() {
        try (Samples s = new Samples(TORCH, 3, 0)) {
            Tensor x = dense(s, 12, 256);
            float[] values = new float[128 * 256];
            Arrays.fill(values, 0, 128, Float.NaN);
            Tensor w = s.dense(DType.BF16, values, 128, 256);
            TileTable own = TileTable.of(s.arena(), 128, 256, 128, List.of(new BlockCoordinate(0, 0)),
                    s.dense(DType.BF16, new float[128 * 128], 128, 128).segment(), 2);
            List<TileTable> tiles = new ArrayList<>();
            for (int m = 0; m < 12; m++) {
                tiles.add(m % 3 == 0 ? null : own);
            }
            float[][] y = mixed(s, x, w, tiles);
            for (int m = 0; m < 12; m++) {
                assertThat(Float.isNaN(y[m][0])).as("row %d", m).isEqualTo(m % 3 == 0);
                assertThat(y[m][1]).isZero();
            }
        }
    }

    @Test
    void memory_for_a_call_is_given_back() {
        assumeTrue(host.isPresent(), "a GPU's memory is libtorch's");
        try (Samples s = new Samples(TORCH, 4, 0)) {
            Tensor x = dense(s, 40, 128);
            Tensor w = dense(s, 128, 128);
            List<TileTable> tiles = new ArrayList<>();
            for (int m = 0; m < 40; m++) {
                tiles.add(m == 0 ? s.tiles(DType.BF16, 128, 128, 64) : tiles.getFirst());
            }
            tiles.set(7, null);
            mixed(s, x, w, tiles);
            int held = host.orElseThrow().held();
            mixed(s, x, w, tiles);
            assertThat(host.orElseThrow().held()).isEqualTo(held);
        }
    }

    /** Rows that begin at multiples of 16 bytes, which the fast entries want. */
    private static Tensor dense(Samples s, int rows, int columns) {
        return s.scope().copyTo(s.normal(DType.BF16, 1, rows, columns), DType.BF16, Device.CPU);
    }
}
