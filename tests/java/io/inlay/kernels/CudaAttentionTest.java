package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** CUDA's attention over caches of several splits and tiles, with the head dimensions of LLaMA. */
class CudaAttentionTest {

    private static final Libtorch TORCH = Libtorch.load();
    private static Kernels cuda;

    @BeforeAll
    static void find() {
        cuda = TestedCuda.required().kernels();
    }

    @ParameterizedTest
    @CsvSource({"BF16, 8, 2, 128", "BF16, 6, 1, 64", "BF16, 2, 1, 200", "FP32, 4, 2, 128", "FP32, 5, 1, 64"})
    void one_position_of_each_of_several_sequences(DType type, int heads, int groups, int dim) {
        int[] lengths = {1, 255, 256, 257, 700, 1030};
        try (Samples s = new Samples(TORCH, dim, 0); Arena arena = Arena.ofConfined()) {
            Tensor q = s.normal(type, 1, lengths.length, heads, dim);
            List<KvPages> caches = new ArrayList<>();
            for (int length : lengths) {
                caches.add(pages(s, arena, type, groups, dim, length));
            }
            Tensor actual = s.scope().empty(type, Device.CPU, q.sizes());
            Tensor expected = s.scope().empty(type, Device.CPU, q.sizes());
            cuda.pagedAttention(q, caches, 0.1f, actual);
            new ScalarKernels().pagedAttention(q, caches, 0.1f, expected);
            close("pagedAttention", actual, expected);
            for (int r = 0; r < lengths.length; r++) {
                Tensor alone = s.scope().empty(type, Device.CPU, 1, heads, dim);
                cuda.pagedAttention(q.narrow(s.scope(), 0, r, 1), caches.subList(r, r + 1), 0.1f, alone);
                assertThat(Scope.floats(TORCH, alone)).containsExactly(Scope.floats(TORCH, actual.narrow(s.scope(), 0, r, 1)));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"BF16, 4, 2, 128", "BF16, 3, 1, 64", "BF16, 2, 1, 136", "FP32, 2, 1, 64"})
    void the_last_positions_of_a_sequence_over_its_pages(DType type, int heads, int groups, int dim) {
        try (Samples s = new Samples(TORCH, dim, 0); Arena arena = Arena.ofConfined()) {
            KvPages cache = pages(s, arena, type, groups, dim, 333);
            Tensor q = s.normal(type, 1, 150, heads, dim);
            Tensor actual = s.scope().empty(type, Device.CPU, q.sizes());
            Tensor expected = s.scope().empty(type, Device.CPU, q.sizes());
            cuda.pagedCausalAttention(q, cache, 0.1f, actual);
            new ScalarKernels().pagedCausalAttention(q, cache, 0.1f, expected);
            close("pagedCausalAttention", actual, expected);
            Tensor piece = s.scope().empty(type, Device.CPU, 41, heads, dim);
            cuda.pagedCausalAttention(q.narrow(s.scope(), 0, 60, 41), cache.first(333 - 150 + 101), 0.1f, piece);
            assertThat(Scope.floats(TORCH, piece)).containsExactly(Scope.floats(TORCH, actual.narrow(s.scope(), 0, 60, 41)));
        }
    }

    @ParameterizedTest
    @CsvSource({"128", "64"})
    void a_sequence_has_the_same_bits_and_gradients_beside_any_other(int dim) {
        try (Samples s = new Samples(TORCH, dim, 0)) {
            int[] starts = {0, 90, 90, 300};
            Tensor[] given = new Tensor[4];
            for (int i = 0; i < given.length; i++) {
                given[i] = s.finite(300, i == 1 || i == 2 ? 2 : 4, dim);
                given[i] = s.scope().copyTo(given[i], DType.BF16, Device.CPU);
            }
            Tensor[] together = passes(s, given, starts);
            for (int i = 0; i < given.length; i++) {
                given[i] = given[i].narrow(s.scope(), 0, 90, 210);
            }
            Tensor[] alone = passes(s, given, new int[] {0, 210});
            for (int i = 0; i < alone.length; i++) {
                assertThat(Scope.floats(TORCH, alone[i])).as("result %d", i)
                        .containsExactly(Scope.floats(TORCH, together[i].narrow(s.scope(), 0, 90, 210)));
            }
        }
    }

    /** out and the gradients of q, k and v, given q, k, v and gradOut. */
    private static Tensor[] passes(Samples s, Tensor[] given, int[] starts) {
        Tensor[] results = new Tensor[4];
        for (int i = 0; i < results.length; i++) {
            results[i] = s.scope().empty(DType.BF16, Device.CPU, given[i == 0 ? 0 : i - 1].sizes());
        }
        Tensor bounds = s.scope().of(Device.CPU, starts, starts.length);
        Tensor sums = s.scope().empty(DType.FP32, Device.CPU, given[0].size(1), given[0].size(0));
        cuda.causalAttention(given[0], given[1], given[2], bounds, 0.1f, results[0], sums);
        cuda.causalAttentionBackward(given[3], given[0], given[1], given[2], results[0], sums, bounds, 0.1f, results[1], results[2], results[3]);
        return results;
    }

    @Test
    void heads_that_are_too_wide_are_refused() {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            Tensor q = s.normal(DType.BF16, 1, 2, 264);
            Tensor cache = s.normal(DType.BF16, 1, 1, 3, 264);
            assertThatThrownBy(() -> cuda.decodeAttention(q, cache, cache, 3, 1, q)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("decodeAttention: heads of 264 are too wide for the CUDA kernels, which take up to 256");
        }
    }

    /** A cache of random keys and values, its last page filled up with NaN. */
    private static KvPages pages(Samples s, Arena arena, DType type, int groups, int dim, int length) {
        int count = Math.ceilDiv(length, KvPages.PAGE);
        long half = (long) groups * KvPages.PAGE * dim * type.bytes();
        MemorySegment addresses = arena.allocate(ValueLayout.JAVA_LONG, count);
        for (int p = 0; p < count; p++) {
            addresses.setAtIndex(ValueLayout.JAVA_LONG, count - 1 - p, arena.allocate(2 * half, 16).fill((byte) 0xff).address());
        }
        KvPages made = new KvPages(addresses, length, 0, half, groups, dim, type);
        Tensor rows = s.scope().copyTo(s.normal(type, 1, 2L * groups * length, dim), type, Device.CPU);
        long bytes = (long) dim * type.bytes();
        for (int i = 0; i < 2 * groups * length; i++) {
            MemorySegment.copy(rows.segment(), i * bytes, made.row(i % 2 == 1, i / 2 % groups, i / 2 / groups), 0, bytes);
        }
        return made;
    }

    private static void close(String what, Tensor actual, Tensor expected) {
        double relative = actual.dtype() == DType.BF16 ? 1 / 128.0 : 2e-5;
        Results.expectClose(what, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), relative, 2e-5);
    }
}
