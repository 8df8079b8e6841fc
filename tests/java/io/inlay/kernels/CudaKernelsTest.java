package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.assertj.core.data.Offset;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the contract's small operands do not reach in the CUDA kernels: several blocks to a row, loops of threads and of grids. */
class CudaKernelsTest {

    private static Libtorch torch;

    private final Kernels reference = new ScalarKernels();
    private Scope scope;
    private TestedCuda cuda;
    private Kernels kernels;

    @BeforeAll
    static void load() {
        TestedCuda.required();
        torch = Libtorch.load();
    }

    @BeforeEach
    void find() {
        scope = new Scope(torch);
        cuda = TestedCuda.required();
        kernels = cuda.kernels();
    }

    @AfterEach
    void nothing_is_left_on_the_device() {
        scope.close();
        // A GPU's kernels are one for all tests, and keep what every call needs.
        cuda.host().ifPresent(host -> assertThat(host.held()).isZero());
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void the_loss_of_a_vocabulary_of_many_chunks(DType type) {
        both(1e-5, 2e-6, type, (k, s) -> {
            Tensor logits = s.normal(type, 6, 3, 20_001);
            Tensor losses = s.empty(DType.FP32, 3);
            k.crossEntropy(logits, scope.of(Device.CPU, new int[] {0, 8192, 20_000}, 3), 0.37f, true, losses);
            return List.of(losses, logits);
        });
    }

    @Test
    void logits_that_are_ruled_out_by_minus_infinity() {
        for (boolean gradient : new boolean[] {false, true}) {
            List<float[]> results = new ArrayList<>();
            for (Kernels each : List.of(reference, kernels)) {
                float[] values = new float[9000];
                Arrays.fill(values, Float.NEGATIVE_INFINITY);
                values[8500] = 1;
                values[8700] = 2;
                Tensor logits = scope.of(Device.CPU, values, 1, 9000);
                Tensor losses = scope.of(Device.CPU, new float[1], 1);
                each.crossEntropy(logits, scope.of(Device.CPU, new int[] {8500}, 1), 1, gradient, losses);
                results.add(Scope.floats(torch, losses));
                results.add(Scope.floats(torch, logits));
            }
            Results.expectClose("losses", results.get(2), results.get(0), 1e-5, 1e-6);
            Results.expectClose("logits", results.get(3), results.get(1), 1e-5, 1e-6);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void norms_of_rows_that_a_block_goes_over_twice(DType type) {
        both(1e-5, 1e-5, type, (k, s) -> {
            Tensor x = s.normal(type, 1, 150, 2600);
            Tensor y = s.normal(type, 1, 150, 2600);
            Tensor weight = s.normal(type, 1, 2600);
            Tensor out = s.empty(type, 150, 2600);
            Tensor rstd = s.empty(DType.FP32, 150);
            k.addRmsNorm(x, y, x, weight, 1e-5f, out, rstd);
            return List.of(x, out, rstd);
        });
        both(2e-5, 2e-5, type, (k, s) -> {
            Tensor x = s.normal(type, 1, 150, 2600);
            Tensor weight = s.normal(type, 1, 2600);
            Tensor rstd = s.empty(DType.FP32, 150);
            reference.rmsNorm(x, weight, 1e-5f, s.empty(type, 150, 2600), rstd);
            Tensor gradX = s.normal(type, 1, 150, 2600);
            Tensor gradWeight = s.normal(DType.FP32, 1, 2600);
            k.rmsNormBackward(s.normal(type, 1, 150, 2600), x, weight, rstd, gradX, gradWeight);
            return List.of(gradX, gradWeight);
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void the_gradient_of_an_embedding_whose_ids_occur_again_and_again(DType type) {
        both(1e-6, 1e-6, type, (k, s) -> {
            Tensor grad = s.normal(type, 1, 700, 40);
            Tensor table = s.normal(DType.FP32, 1, 9, 40);
            k.embedBackward(grad, s.integers(700, 9), table);
            return List.of(table);
        });
    }

    @Test
    void ids_and_positions_and_targets_that_no_one_has_looked_at_give_nan() {
        Kernels device = cuda.onDevice();
        Tensor ids = scope.of(Device.CPU, new int[] {1, -1, 3}, 3);
        Tensor out = scope.of(Device.CPU, new float[6], 3, 2);
        device.embed(scope.of(Device.CPU, new float[] {1, 2, 3, 4, 5, 6}, 3, 2), ids, out);
        assertThat(Scope.floats(torch, out)).containsExactly(3, 4, Float.NaN, Float.NaN, Float.NaN, Float.NaN);
        Tensor table = scope.of(Device.CPU, new float[6], 3, 2);
        device.embedBackward(scope.of(Device.CPU, new float[] {1, 2, 3, 4, 5, 6}, 3, 2), ids, table);
        assertThat(Scope.floats(torch, table)).containsExactly(0, 0, 1, 2, 0, 0);
        Tensor x = scope.of(Device.CPU, new float[] {1, 2, 3, 4, 5, 6}, 3, 1, 2);
        device.rope(x, scope.of(Device.CPU, new float[] {0, 1, 1, 0}, 2, 2), ids, false);
        assertThat(Scope.floats(torch, x)).containsExactly(1, 2, Float.NaN, Float.NaN, Float.NaN, Float.NaN);
        Tensor losses = scope.of(Device.CPU, new float[3], 3);
        device.crossEntropy(scope.of(Device.CPU, new float[6], 3, 2), ids, 1, false, losses);
        assertThat(Scope.floats(torch, losses)[0]).isCloseTo((float) Math.log(2), Offset.offset(1e-6f));
        assertThat(Scope.floats(torch, losses)[1]).isNaN();
        assertThat(Scope.floats(torch, losses)[2]).isNaN();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void new_positions_are_kept_in_their_pages_and_no_other_changes(DType type) {
        for (int dim : new int[] {5, 8, 64}) {
            try (Samples s = new Samples(torch, dim, 0)) {
                int groups = 3;
                int pages = 3;
                long bytes = 2L * groups * KvPages.PAGE * dim * type.bytes();
                MemorySegment memory = s.arena().allocate(bytes * pages, 64);
                MemorySegment addresses = s.arena().allocate(ValueLayout.JAVA_LONG, pages);
                for (int p = 0; p < pages; p++) {
                    addresses.setAtIndex(ValueLayout.JAVA_LONG, p, memory.address() + bytes * (pages - 1 - p));
                }
                KvPages cache = new KvPages(addresses, 40, 0, bytes / 2, groups, dim, type);
                Tensor keys = scope.copyTo(s.normal(type, 1, 20, groups, dim), type, Device.CPU);
                Tensor values = scope.copyTo(s.normal(type, 1, 20, groups, dim), type, Device.CPU);
                kernels.keep(keys, values, cache);
                expectKept(cache, keys, values, 20);
                List<KvPages> caches = new ArrayList<>();
                for (int n = 0; n < 20; n++) {
                    caches.add(cache.first(2 * n + 1));
                }
                memory.fill((byte) 0);
                kernels.keep(keys, values, caches);
                for (int n = 0; n < 20; n++) {
                    expectKept(caches.get(n), keys.narrow(scope, 0, n, 1), values.narrow(scope, 0, n, 1), 1);
                }
            }
        }
    }

    /** The last positions are the rows; the one before them is still empty. */
    private static void expectKept(KvPages cache, Tensor keys, Tensor values, int rows) {
        long bytes = (long) cache.dim() * cache.type().bytes();
        for (int g = 0; g < cache.groups(); g++) {
            for (int n = 0; n < rows; n++) {
                long from = ((long) n * cache.groups() + g) * bytes;
                int position = cache.length() - rows + n;
                assertThat(cache.row(false, g, position).mismatch(keys.segment().asSlice(from, bytes))).isEqualTo(-1);
                assertThat(cache.row(true, g, position).mismatch(values.segment().asSlice(from, bytes))).isEqualTo(-1);
            }
            if (cache.length() > rows) {
                assertThat(cache.row(false, g, cache.length() - rows - 1).toArray(ValueLayout.JAVA_BYTE)).containsOnly(0);
            }
        }
    }

    @Test
    void more_rows_than_a_grid_has() {
        both(1e-5, 1e-6, DType.BF16, (k, s) -> {
            Tensor gate = s.normal(DType.BF16, 1, 70_000, 3);
            k.swiGlu(gate, s.normal(DType.BF16, 1, 70_000, 3), gate);
            k.add(gate, gate.narrow(s.scope(), 1, 0, 3));
            return List.of(gate);
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void sums_and_steps_over_many_blocks(DType type) {
        both(1e-5, 1e-6, type, (k, s) -> {
            Tensor gradient = s.normal(type, 1, 50_003);
            Tensor master = s.normal(DType.FP32, 1, 50_003);
            Tensor first = s.normal(DType.FP32, 1, 50_003);
            Tensor second = s.dense(DType.FP32, new float[50_003], 50_003);
            Tensor weight = s.empty(type, 50_003);
            k.adamW(gradient, master, first, second, weight, new Kernels.AdamW(0.01, 0.9, 0.95, 1e-8, 0.1, 3, 0.3));
            k.accumulate(first, gradient);
            assertThat(k.sumOfSquares(gradient)).isCloseTo(reference.sumOfSquares(gradient),
                    Percentage.withPercentage(1e-9));
            return List.of(master, first, second, weight);
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void scores_and_assembly_of_large_blocks(DType type) {
        try (Samples s = new Samples(torch, 3, 0)) {
            Tensor w = s.normal(type, 1, 256, 384);
            Tensor expected = s.empty(DType.FP32, 2, 3);
            Tensor scores = s.empty(DType.FP32, 2, 3);
            reference.blockAbsoluteMean(w, 128, expected);
            kernels.blockAbsoluteMean(w, 128, scores);
            Results.expectClose("scores", Scope.floats(torch, scores), Scope.floats(torch, expected), 1e-5, 1e-6);
            TileTable tiles = s.tiles(type, 256, 384, 128);
            Tensor out = s.empty(type, 256, 384);
            Tensor right = s.empty(type, 256, 384);
            reference.assemble(w, tiles, right);
            kernels.assemble(w, tiles, out);
            kernels.assemble(w, tiles, out);
            assertThat(Scope.floats(torch, out)).containsExactly(Scope.floats(torch, right));
            cuda.host().ifPresent(host -> {
                assertThat(host.held()).as("the table's copy, once").isOne();
                host.close();
            });
        }
    }

    private void both(double relative, double absolute, DType type, Operation operation) {
        try (Samples ours = new Samples(torch, 7, 0); Samples theirs = new Samples(torch, 7, 0)) {
            List<Tensor> expected = operation.run(reference, theirs);
            List<Tensor> actual = operation.run(kernels, ours);
            for (int i = 0; i < expected.size(); i++) {
                double bound = expected.get(i).dtype() == DType.BF16 ? 1 / 128.0 : relative;
                Results.expectClose("result " + i + " of " + type, Scope.floats(torch, actual.get(i)), Scope.floats(torch, expected.get(i)),
                        bound, absolute);
            }
        }
    }
}
