package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

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
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Rotating query and key and keeping key and value as one operation, of every implementation. */
class RopeAndKeepTest {

    private static final int ROUNDS = 24;
    private static final int POSITIONS = 50;
    private static final Libtorch TORCH = Libtorch.load();

    static Stream<Kernels> all() {
        return Stream.concat(Stream.of(new ScalarKernels()), Candidates.all().map(CpuKernels.Candidate::kernels));
    }

    static Stream<Kernels> onHost() {
        return Candidates.onHost().map(CpuKernels.Candidate::kernels);
    }

    @ParameterizedTest
    @MethodSource("all")
    void it_gives_what_the_reference_gives(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            float share = round % 2 == 0 ? 0 : 0.002f;
            try (Samples ours = new Samples(TORCH, round, share); Samples theirs = new Samples(TORCH, round, share)) {
                List<Tensor> expected = Step.of(theirs).together(new ScalarKernels());
                List<Tensor> actual = Step.of(ours).together(kernels);
                for (int i = 0; i < expected.size(); i++) {
                    double bound = expected.get(i).dtype() == DType.BF16 ? 1 / 128.0 : 1e-6;
                    Results.expectClose("round " + round + ", result " + i, Scope.floats(TORCH, actual.get(i)),
                            Scope.floats(TORCH, expected.get(i)), bound, 1e-6);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void it_has_the_bits_of_two_rotations_and_a_keeping(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples ours = new Samples(TORCH, round, 0); Samples theirs = new Samples(TORCH, round, 0)) {
                List<Tensor> expected = Step.of(theirs).apart(kernels);
                List<Tensor> actual = Step.of(ours).together(kernels);
                for (int i = 0; i < expected.size(); i++) {
                    assertThat(Arrays.mismatch(Scope.floats(TORCH, actual.get(i)), Scope.floats(TORCH, expected.get(i))))
                            .as("round %d, result %d: the first that differs", round, i).isEqualTo(-1);
                }
            }
        }
    }

    /** Rows of one layer, several of them of one sequence now and then. */
    private record Step(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, List<KvPages> caches, Tensor pages) {

        static Step of(Samples s) {
            int rows = s.rows();
            int sequences = s.between(1, Math.min(4, rows));
            int groups = s.between(1, 3);
            int heads = groups * s.between(1, 4);
            int dim = s.coin() ? 16 * s.between(1, 9) : 2 * s.between(1, 70);
            int layers = s.between(1, 2);
            int[] pages = new int[sequences];
            int[] lengths = new int[sequences];
            for (int i = 0; i < sequences; i++) {
                lengths[i] = s.between(1, 40);
                pages[i] = Math.ceilDiv(lengths[i] + Math.ceilDiv(rows, sequences), KvPages.PAGE);
            }
            PagedSequences sequence = new PagedSequences(s, s.dtype(), layers, groups, dim, s.coin() ? 0 : s.between(1, 9), pages);
            int layer = s.between(0, layers - 1);
            List<KvPages> caches = new ArrayList<>();
            for (int r = 0; r < rows; r++) {
                caches.add(sequence.view(r % sequences, layer, lengths[r % sequences]++));
            }
            Tensor query = s.coin() ? s.normal(rows, heads, dim) : s.normal(heads, rows, dim).transpose(s.scope(), 0, 1);
            return new Step(query, dense(s, rows, groups, dim), dense(s, rows, groups, dim), s.normal(DType.FP32, 1, POSITIONS, dim),
                    s.integers(rows, POSITIONS), caches, sequence.memory());
        }

        private static Tensor dense(Samples s, int rows, int groups, int dim) {
            return s.normal((long) rows * groups * dim).reshape(s.scope(), rows, groups, dim);
        }

        List<Tensor> together(Kernels kernels) {
            kernels.ropeAndKeep(query, key, value, table, positions, caches);
            return List.of(query, key, value, pages);
        }

        List<Tensor> apart(Kernels kernels) {
            kernels.rope(query, table, positions, false);
            kernels.rope(key, table, positions, false);
            kernels.keep(key, value, caches);
            return List.of(query, key, value, pages);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_position_that_no_one_has_looked_at_gives_nan_on_a_gpu_and_keeps_the_value(DType type) {
        HostLauncher host = hostLauncher();
        try (Samples s = new Samples(TORCH, 1, 0)) {
            PagedSequences sequence = new PagedSequences(s, type, 1, 1, 2, 0, 1);
            Tensor query = s.normal(type, 1, 4).reshape(s.scope(), 1, 2, 2);
            Tensor key = s.normal(type, 1, 2).reshape(s.scope(), 1, 1, 2);
            Tensor value = s.normal(type, 1, 2).reshape(s.scope(), 1, 1, 2);
            KvPages cache = sequence.view(0, 0, 7);
            Tensor table = s.normal(DType.FP32, 1, 3, 2);
            Tensor positions = s.scope().of(Device.CPU, new int[] {3}, 1);
            CudaRows rows = new CudaRows(host, new CudaTables(host));
            new CudaPages(new GraphedLauncher(host)).with("ropeAndKeep", List.of(cache),
                    lists -> rows.ropeAndKeep(query, key, value, table, positions, cache, lists));
            assertThat(Scope.floats(TORCH, query)).containsOnly(Float.NaN);
            assertThat(elements(cache, false)).containsOnly(Float.NaN);
            assertThat(elements(cache, true)).containsExactly(Scope.floats(TORCH, value));
        }
        host.close();
    }

    /** Of the first head at the last position. */
    private static float[] elements(KvPages cache, boolean values) {
        float[] row = new float[cache.dim()];
        new Floats(cache.row(values, 0, cache.length() - 1), cache.type() == DType.BF16).load(0, row);
        return row;
    }

    @ParameterizedTest
    @MethodSource("onHost")
    void what_does_not_fit_is_refused_before_anything_is_rotated(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            KvPages cache = new PagedSequences(s, DType.BF16, 1, 2, 8, 0, 1).view(0, 0, 3);
            Tensor query = s.normal(DType.BF16, 1, 1, 4, 8);
            Tensor key = s.normal(DType.BF16, 1, 16).reshape(s.scope(), 1, 2, 8);
            Tensor table = s.normal(DType.FP32, 1, 5, 8);
            Tensor positions = s.scope().of(Device.CPU, new int[] {4}, 1);
            float[] before = Scope.floats(TORCH, query);
            refused(() -> kernels.ropeAndKeep(query, key, key, table, positions, List.of()),
                    "keep: 0 caches must be one for each row of keys");
            Tensor wide = s.normal(DType.BF16, 1, 20).reshape(s.scope(), 1, 2, 10);
            refused(() -> kernels.ropeAndKeep(query, wide, wide, table, positions, List.of(cache)),
                    "keep: the cache must have the type, G and D of keys");
            refused(() -> kernels.ropeAndKeep(query, key, key, table, s.scope().of(Device.CPU, new int[] {5}, 1), List.of(cache)),
                    "rope: positions[0] is 5, outside [0, 5)");
            Tensor rows = s.normal(DType.BF16, 1, 32).reshape(s.scope(), 2, 2, 8);
            refused(() -> kernels.ropeAndKeep(query, rows, rows, table, positions, List.of(cache, cache)),
                    "ropeAndKeep: query [N, Q, D], key and value [N, G, D] of one type");
            Tensor single = s.normal(DType.FP32, 1, 1, 4, 8);
            refused(() -> kernels.ropeAndKeep(single, key, key, table, positions, List.of(cache)),
                    "ropeAndKeep: query [N, Q, D], key and value [N, G, D] of one type");
            assertThat(Scope.floats(TORCH, query)).containsExactly(before);
        }
    }

    @Test
    void caches_of_two_layers_are_refused_where_one_launch_takes_all() {
        Kernels cuda = new CudaKernels(hostLauncher());
        try (Samples s = new Samples(TORCH, 1, 0)) {
            PagedSequences sequence = new PagedSequences(s, DType.BF16, 2, 2, 8, 0, 1);
            Tensor rows = s.normal(DType.BF16, 1, 32).reshape(s.scope(), 2, 2, 8);
            Tensor table = s.normal(DType.FP32, 1, 5, 8);
            List<KvPages> caches = List.of(sequence.view(0, 0, 3), sequence.view(0, 1, 4));
            refused(() -> cuda.ropeAndKeep(rows, rows, rows, table, s.integers(2, 5), caches),
                    "ropeAndKeep: caches must be of one layer");
        }
    }

    /** What runs CUDA's kernels on the CPU; where a GPU does, nothing is compiled for it. */
    private static HostLauncher hostLauncher() {
        Optional<HostLauncher> host = TestedCuda.find().flatMap(TestedCuda::host);
        assumeTrue(host.isPresent(), "a GPU is used, or there is no C++ compiler");
        return host.get();
    }

    private static void refused(ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageContaining(message);
    }
}
