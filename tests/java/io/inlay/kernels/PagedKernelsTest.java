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
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What serves many sequences at once: mixed tile tables and paged caches, of every implementation, bit for bit against one at a time. */
class PagedKernelsTest {

    private static final int ROUNDS = 12;
    /** Products of two such values are in part denormal, which instructions treat differently. */
    private static final double NEARLY_DENORMAL = 0x1p-63;
    private static final Libtorch TORCH = Libtorch.load();

    static Stream<Named<Kernels>> all() {
        return Candidates.named();
    }

    @ParameterizedTest
    @MethodSource("all")
    void a_row_with_a_table_of_its_own_has_the_bits_that_it_has_alone(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                int smallest = new int[] {8, 16, 32, 64}[s.between(0, 3)];
                int largest = smallest * (1 << s.between(0, 2));
                DType type = s.dtype();
                double deviation = s.coin() ? 1 : NEARLY_DENORMAL;
                Tensor x = s.normal(type, deviation, s.between(1, 20), (long) largest * s.between(1, 4));
                Tensor w = s.normal(type, deviation, (long) largest * s.between(1, 3), x.dim(1));
                List<TileTable> distinct = new ArrayList<>();
                distinct.add(null);
                for (int i = 0; i < 3; i++) {
                    distinct.add(s.tiles(type, w.dim(0), w.dim(1), s.coin() ? smallest : largest));
                }
                List<TileTable> tiles = new ArrayList<>();
                for (int m = 0; m < x.dim(0); m++) {
                    tiles.add(distinct.get(s.between(0, 3)));
                }
                Tensor together = s.scope().empty(DType.FP32, Device.CPU, x.dim(0), w.dim(0));
                kernels.linearMixed(x, w, tiles, together);
                for (int m = 0; m < x.dim(0); m++) {
                    Tensor alone = s.scope().empty(DType.FP32, Device.CPU, 1, w.dim(0));
                    kernels.linear(x.narrow(s.scope(), 0, m, 1), w, tiles.get(m), alone);
                    assertThat(Scope.floats(TORCH, together.narrow(s.scope(), 0, m, 1))).as("round %d row %d", round, m)
                            .containsExactly(Scope.floats(TORCH, alone));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void attention_over_pages_is_attention_over_a_cache_whatever_else_is_in_the_batch(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0); Arena arena = Arena.ofConfined()) {
                Caches caches = new Caches(s, arena, s.between(1, 5));
                Tensor q = s.normal(caches.type, 1, caches.lengths.size(), caches.heads, caches.dim);
                Tensor out = s.scope().empty(caches.type, Device.CPU, q.sizes());
                kernels.pagedAttention(q, caches.pages, 0.3f, out);
                for (int r = 0; r < q.dim(0); r++) {
                    Tensor expected = s.scope().empty(caches.type, Device.CPU, caches.heads, caches.dim);
                    kernels.decodeAttention(q.strided(s.scope(), new long[] {caches.heads, caches.dim},
                            new long[] {q.stride(1), 1}, r * q.stride(0)), caches.keys.get(r),
                            caches.values.get(r), caches.lengths.get(r), 0.3f, expected);
                    assertThat(Scope.floats(TORCH, out.narrow(s.scope(), 0, r, 1))).as("round %d row %d", round, r)
                            .containsExactly(Scope.floats(TORCH, expected));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void the_attention_of_a_piece_of_a_prompt_has_the_bits_of_the_whole(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0); Arena arena = Arena.ofConfined()) {
                Caches caches = new Caches(s, arena, 1);
                int length = caches.lengths.getFirst();
                Tensor q = s.normal(caches.type, 1, length, caches.heads, caches.dim);
                Tensor whole = s.scope().empty(caches.type, Device.CPU, q.sizes());
                kernels.pagedCausalAttention(q, caches.pages.getFirst(), 0.3f, whole);
                for (int from = 0; from < length;) {
                    int until = Math.min(length, from + s.between(1, 90));
                    Tensor piece = q.narrow(s.scope(), 0, from, until - from);
                    Tensor out = s.scope().empty(caches.type, Device.CPU, piece.sizes());
                    kernels.pagedCausalAttention(piece, caches.pages.getFirst().first(until), 0.3f, out);
                    assertThat(Scope.floats(TORCH, out)).as("round %d, %d to %d of %d", round, from, until, length)
                            .containsExactly(Scope.floats(TORCH, whole.narrow(s.scope(), 0, from, until - from)));
                    from = until;
                }
                close(whole, causal(caches, q, s));
            }
        }
    }

    /** The same by the packed kernel's reference, over keys and values in rows. */
    private static Tensor causal(Caches caches, Tensor q, Samples s) {
        int length = q.dim(0);
        Tensor out = s.scope().empty(caches.type, Device.CPU, q.sizes());
        Tensor keys = caches.keys.getFirst().transpose(s.scope(), 0, 1);
        Tensor values = caches.values.getFirst().transpose(s.scope(), 0, 1);
        new ScalarKernels().causalAttention(q, keys, values, s.scope().of(Device.CPU, new int[] {0, length}, 2), 0.3f, out, null);
        return out;
    }

    @ParameterizedTest
    @MethodSource("all")
    void rows_are_kept_at_the_last_positions_of_their_caches_and_nowhere_else(Kernels kernels) {
        for (int round = 0; round < ROUNDS; round++) {
            try (Samples s = new Samples(TORCH, round, 0); Arena arena = Arena.ofConfined()) {
                Caches caches = new Caches(s, arena, s.between(1, 5));
                KvPages first = caches.pages.getFirst();
                Tensor keys = s.normal(caches.type, 1, caches.pages.size(), first.groups(), caches.dim);
                Tensor values = s.normal(caches.type, 1, caches.pages.size(), first.groups(), caches.dim);
                if (!keys.contiguous() || !values.contiguous()) {
                    keys = s.scope().copyTo(keys, caches.type, Device.CPU);
                    values = s.scope().copyTo(values, caches.type, Device.CPU);
                }
                List<List<Float>> before = caches.pages.stream().map(PagedKernelsTest::elements).toList();
                kernels.keep(keys, values, caches.pages);
                for (int n = 0; n < caches.pages.size(); n++) {
                    requireKept(before.get(n), caches.pages.get(n), keys, values, n, 1);
                }
                int rows = Math.min(first.length(), caches.pages.size());
                Tensor someKeys = keys.narrow(s.scope(), 0, 0, rows);
                Tensor someValues = values.narrow(s.scope(), 0, 0, rows);
                List<Float> now = elements(first);
                kernels.keep(someKeys, someValues, first);
                requireKept(now, first, someKeys, someValues, 0, rows);
            }
        }
    }

    /** Keys, then values, by position, head and element. */
    private static List<Float> elements(KvPages cache) {
        List<Float> all = new ArrayList<>();
        for (boolean values : new boolean[] {false, true}) {
            for (int at = 0; at < cache.length(); at++) {
                for (int g = 0; g < cache.groups(); g++) {
                    float[] row = new float[cache.dim()];
                    new Floats(cache.row(values, g, at), cache.type() == DType.BF16).load(0, row);
                    for (float each : row) {
                        all.add(each);
                    }
                }
            }
        }
        return all;
    }

    private static void requireKept(List<Float> before, KvPages cache, Tensor keys, Tensor values, int from, int rows) {
        List<Float> expected = new ArrayList<>(before);
        int row = cache.groups() * cache.dim();
        for (int i = 0; i < rows * row; i++) {
            int at = (cache.length() - rows) * row + i;
            expected.set(at, Floats.of(keys).get((long) from * row + i));
            expected.set(cache.length() * row + at, Floats.of(values).get((long) from * row + i));
        }
        assertThat(elements(cache)).isEqualTo(expected);
    }

    private static void close(Tensor actual, Tensor expected) {
        float[] a = Scope.floats(TORCH, actual);
        float[] e = Scope.floats(TORCH, expected);
        double bound = actual.dtype() == DType.BF16 ? 0.02 : 1e-4;
        for (int i = 0; i < a.length; i++) {
            assertThat(Math.abs(a[i] - e[i])).as("element %d: %f and %f", i, a[i], e[i]).isLessThan((float) (bound * (1 + Math.abs(e[i]))));
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void what_does_not_fit_is_refused(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 1, 0); Arena arena = Arena.ofConfined()) {
            Caches caches = new Caches(s, arena, 2);
            Tensor q = s.normal(caches.type, 1, 1, caches.heads, caches.dim);
            Tensor row = s.normal(caches.type, 1, 1, caches.pages.getFirst().groups() + 1, caches.dim);
            assertThatThrownBy(() -> kernels.keep(row, row, caches.pages.subList(0, 1))).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("keep: the cache must have the type, G and D of keys, it has");
            assertThatThrownBy(() -> kernels.keep(row, row, List.of())).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("keep: 0 caches must be one for each row of keys");
            assertThatThrownBy(() -> kernels.pagedAttention(q, caches.pages, 1, q)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("2 caches must be one for each row of q");
            Tensor x = s.normal(DType.BF16, 1, 3, 64);
            Tensor w = s.normal(DType.BF16, 1, 64, 64);
            Tensor y = s.scope().empty(DType.BF16, Device.CPU, 3, 64);
            List<TileTable> two = new ArrayList<>(List.of(s.tiles(DType.BF16, 64, 64, 32), s.tiles(DType.BF16, 64, 64, 64)));
            assertThatThrownBy(() -> kernels.linearMixed(x, w, two, y)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("2 tile tables must be one for each row of x");
            two.add(s.tiles(DType.BF16, 128, 64, 64));
            assertThatThrownBy(() -> kernels.linearMixed(x, w, two, y)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("the tile table is for a weight of 128 x 64");
        }
    }

    /** Caches of one layer, in rows and in pages that lie in any order. */
    private static final class Caches {
        private final DType type;
        private final int heads;
        private final int dim;
        private final List<Integer> lengths = new ArrayList<>();
        private final List<Tensor> keys = new ArrayList<>();
        private final List<Tensor> values = new ArrayList<>();
        private final List<KvPages> pages = new ArrayList<>();

        private Caches(Samples s, Arena arena, int count) {
            type = s.dtype();
            int groups = s.between(1, 3);
            heads = groups * s.between(1, 9);
            dim = s.between(1, 70);
            SplittableRandom order = new SplittableRandom(count);
            for (int i = 0; i < count; i++) {
                int length = s.between(1, 150);
                Tensor key = s.normal(type, 1, groups, length, dim);
                Tensor value = s.normal(type, 1, groups, length, dim);
                lengths.add(length);
                keys.add(key);
                values.add(value);
                pages.add(paged(arena, key, value, length, groups, order));
            }
        }

        private KvPages paged(Arena arena, Tensor key, Tensor value, int length, int groups, SplittableRandom order) {
            int count = Math.ceilDiv(length, KvPages.PAGE);
            long bytes = (long) dim * type.bytes();
            long half = groups * KvPages.PAGE * bytes;
            long offset = 64;
            MemorySegment addresses = arena.allocate(ValueLayout.JAVA_LONG, count);
            for (int p = 0; p < count; p++) {
                MemorySegment memory = arena.allocate(offset + 2 * half + 64L * order.nextInt(1, 9), 64);
                addresses.setAtIndex(ValueLayout.JAVA_LONG, p, memory.address());
            }
            KvPages made = new KvPages(addresses, length, offset, offset + half, groups, dim, type);
            for (int g = 0; g < groups; g++) {
                for (int at = 0; at < length; at++) {
                    MemorySegment.copy(key.segment(), (g * key.stride(0) + at * key.stride(1)) * type.bytes(), made.row(false, g, at), 0, bytes);
                    MemorySegment.copy(value.segment(), (g * value.stride(0) + at * value.stride(1)) * type.bytes(), made.row(true, g, at), 0,
                            bytes);
                }
            }
            return made;
        }
    }
}
