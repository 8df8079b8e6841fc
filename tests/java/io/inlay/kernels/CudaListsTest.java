package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Lists of pages and of tile tables on a GPU: copied when they are new, and never read when they are old. */
class CudaListsTest {

    private static final Libtorch TORCH = Libtorch.load();
    private static final int GROUPS = 2;
    private static final int HEADS = 4;
    private static final int DIM = 16;

    private CountedLauncher launcher;
    private Kernels cuda;
    private Samples s;

    @BeforeEach
    void find() {
        launcher = new CountedLauncher(HostLauncher.required());
        cuda = new CudaKernels(launcher);
        s = new Samples(TORCH, 4, 0);
    }

    @AfterEach
    void close() {
        if (launcher != null) {
            launcher.close();
            s.close();
        }
    }

    // ---- pages ----

    @Test
    void the_layers_of_a_step_share_one_copy_of_the_pages_while_the_sequences_grow() {
        int layers = 3;
        Kernels reference = new ScalarKernels();
        try (Samples same = new Samples(TORCH, 4, 0)) {
            PagedSequences ours = new PagedSequences(s, DType.FP32, layers, GROUPS, DIM, 0, 4, 3);
            PagedSequences theirs = new PagedSequences(same, DType.FP32, layers, GROUPS, DIM, 0, 4, 3);
            for (int step = 0; step < 20; step++) {
                int first = 40 + step;
                int second = 15 + step;
                for (int layer = 0; layer < layers; layer++) {
                    float[] actual = decoded(cuda, s, List.of(ours.view(0, layer, first), ours.view(1, layer, second)));
                    float[] expected = decoded(reference, same, List.of(theirs.view(0, layer, first), theirs.view(1, layer, second)));
                    Results.expectClose("step " + step + ", layer " + layer, actual, expected, 1e-5, 1e-5);
                }
                assertThat(launcher.uploads()).as("step %d", step).isEqualTo(step + 1);
            }
            Results.expectClose("pages", Scope.floats(TORCH, ours.memory()), Scope.floats(TORCH, theirs.memory()), 1e-6, 1e-6);
            assertThat(launcher.launched().subList(0, 6)).containsExactly("rope_keep_f32", "paged_attention_64_f32", "attention_splits_f32",
                    "rope_keep_f32", "paged_attention_64_f32", "attention_splits_f32");
            assertThat(launcher.launched()).hasSize(20 * layers * 3);
        }
    }

    /** One layer of a step. */
    private static float[] decoded(Kernels kernels, Samples s, List<KvPages> caches) {
        int rows = caches.size();
        Tensor query = dense(s, DType.FP32, rows, HEADS, DIM);
        kernels.ropeAndKeep(query, dense(s, DType.FP32, rows, GROUPS, DIM), dense(s, DType.FP32, rows, GROUPS, DIM),
                dense(s, DType.FP32, 5, DIM), s.integers(rows, 5), caches);
        return attended(kernels, s, query, caches);
    }

    private static float[] attended(Kernels kernels, Samples s, Tensor query, List<KvPages> caches) {
        Tensor out = s.scope().empty(query.dtype(), Device.CPU, query.sizes());
        kernels.pagedAttention(query, caches, 0.3f, out);
        return Scope.floats(TORCH, out);
    }

    @Test
    void a_page_that_moves_under_the_same_cache_is_read_where_it_lies_now() {
        PagedSequences sequences = new PagedSequences(s, DType.FP32, 1, GROUPS, DIM, 0, 3, 3);
        List<KvPages> caches = List.of(sequences.view(0, 0, 40), sequences.view(1, 0, 33));
        Tensor query = dense(s, DType.FP32, 2, HEADS, DIM);
        float[] before = attended(cuda, s, query, caches);
        sequences.move(1, 1);
        assertThat(attended(cuda, s, query, caches)).containsExactly(before);
        assertThat(launcher.uploads()).isEqualTo(2);
        assertThat(attended(cuda, s, query, caches)).containsExactly(before);
        assertThat(launcher.uploads()).isEqualTo(2);
    }

    @Test
    void other_rows_of_the_same_lengths_are_not_taken_for_the_ones_before() {
        PagedSequences sequences = new PagedSequences(s, DType.FP32, 1, GROUPS, DIM, 0, 2, 2, 2);
        KvPages[] caches = new KvPages[3];
        for (int i = 0; i < caches.length; i++) {
            caches[i] = sequences.view(i, 0, 20);
        }
        Tensor row = dense(s, DType.FP32, 1, HEADS, DIM);
        float[][] alone = new float[3][];
        for (int i = 0; i < caches.length; i++) {
            alone[i] = attended(cuda, s, row, List.of(caches[i]));
        }
        assertThat(alone[0]).isNotEqualTo(alone[1]);
        Tensor rows = s.scope().empty(DType.FP32, Device.CPU, 2, HEADS, DIM);
        for (int r = 0; r < 2; r++) {
            TORCH.copy(rows.narrow(s.scope(), 0, r, 1), row);
        }
        for (int[] pair : new int[][] {{0, 1}, {1, 0}, {1, 2}, {1, 2}, {2, 2}}) {
            float[] together = attended(cuda, s, rows, List.of(caches[pair[0]], caches[pair[1]]));
            assertThat(Arrays.copyOf(together, HEADS * DIM)).as("row 0 of %s", Arrays.toString(pair)).containsExactly(alone[pair[0]]);
            assertThat(Arrays.copyOfRange(together, HEADS * DIM, 2 * HEADS * DIM)).as("row 1 of %s", Arrays.toString(pair))
                    .containsExactly(alone[pair[1]]);
        }
        assertThat(launcher.uploads()).isEqualTo(3 + 4);
    }

    @Test
    void the_layers_of_a_piece_of_a_prompt_share_one_copy_too() {
        PagedSequences sequence = new PagedSequences(s, DType.FP32, 2, GROUPS, DIM, 0, 3);
        Tensor query = dense(s, DType.FP32, 10, HEADS, DIM);
        for (int layer = 0; layer < 2; layer++) {
            Tensor actual = s.scope().empty(DType.FP32, Device.CPU, query.sizes());
            Tensor expected = s.scope().empty(DType.FP32, Device.CPU, query.sizes());
            cuda.pagedCausalAttention(query, sequence.view(0, layer, 45), 0.3f, actual);
            new ScalarKernels().pagedCausalAttention(query, sequence.view(0, layer, 45), 0.3f, expected);
            Results.expectClose("layer " + layer, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), 2e-5, 2e-5);
        }
        assertThat(launcher.uploads()).isOne();
    }

    // ---- tile tables ----

    @Test
    void the_linears_of_a_batch_copy_their_tables_in_its_first_step_alone() {
        Tensor[] weights = {dense(s, DType.BF16, 128, 128), dense(s, DType.BF16, 128, 128)};
        TileTable[][] tables = new TileTable[2][];
        for (int layer = 0; layer < 2; layer++) {
            tables[layer] = new TileTable[] {s.tiles(DType.BF16, 128, 128, 64), s.tiles(DType.BF16, 128, 128, 64), null};
        }
        int tablesOnDevice = 4;
        int[][] batches = {{0, 1, 2}, {0, 1, 2}, {1, 0, 2}, {0, 1, 2}, {2, 0, 0}};
        int[] lists = {2, 2, 4, 4, 6};
        for (int i = 0; i < batches.length; i++) {
            for (int layer = 0; layer < 2; layer++) {
                TileTable[] own = tables[layer];
                Tensor x = dense(s, DType.BF16, 3, 128);
                Tensor actual = s.scope().empty(DType.FP32, Device.CPU, 3, 128);
                Tensor expected = s.scope().empty(DType.FP32, Device.CPU, 3, 128);
                List<TileTable> tiles = new ArrayList<>();
                Arrays.stream(batches[i]).forEach(each -> tiles.add(own[each]));
                cuda.linearMixed(x, weights[layer], tiles, actual);
                new ScalarKernels().linearMixed(x, weights[layer], tiles, expected);
                Results.expectClose("batch " + i, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), 1e-5, 3e-5);
            }
            assertThat(launcher.uploads()).as("after batch %d", i).isEqualTo(tablesOnDevice + lists[i]);
        }
    }

    @Test
    void lists_of_tables_begin_anew_where_they_have_no_room() {
        TileTable[] tables = new TileTable[4];
        for (int i = 0; i < tables.length; i++) {
            tables[i] = s.tiles(DType.BF16, 128, 128, i % 2 == 0 ? 64 : 128);
        }
        CudaTables copies = new CudaTables(launcher);
        CudaTableLists lists = new CudaTableLists(new GraphedLauncher(launcher), copies, 64);
        for (int[] pair : new int[][] {{0, 1}, {1, 2}, {0, 1}, {2, 3}, {0, 1}, {1, 2}, {1, 0}}) {
            List<TileTable> tiles = List.of(tables[pair[0]], tables[pair[1]]);
            lists.with(tiles, address -> {
                MemorySegment there = MemorySegment.ofAddress(address).reinterpret(24);
                for (int m = 0; m < 2; m++) {
                    assertThat(there.getAtIndex(ValueLayout.JAVA_LONG, m)).isEqualTo(copies.address(tables[pair[m]]));
                    assertThat(there.getAtIndex(ValueLayout.JAVA_INT, 4 + m)).isEqualTo(tables[pair[m]].edge());
                }
            });
        }
        assertThat(launcher.uploads()).as("of 4 tables, and of 6 lists: the first two stay until the third comes").isEqualTo(4 + 6);
        assertThatThrownBy(() -> lists.with(Collections.nCopies(6, tables[0]), _ -> { })).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("a list of 72 bytes does not fit into 64");
    }

    // ---- both ----

    @Test
    void threads_with_batches_of_their_own_do_not_read_each_others_lists() throws Exception {
        PagedSequences sequences = new PagedSequences(s, DType.BF16, 1, GROUPS, DIM, 0, 2, 2, 2, 2);
        Tensor w = dense(s, DType.BF16, 64, 64);
        List<Callable<float[]>> calls = new ArrayList<>();
        for (int caller = 0; caller < 4; caller++) {
            List<KvPages> caches = List.of(sequences.view(caller, 0, 20), sequences.view((caller + 1) % 4, 0, 31));
            List<TileTable> tiles = List.of(s.tiles(DType.BF16, 64, 64, 64), s.tiles(DType.BF16, 64, 64, 64));
            Tensor query = dense(s, DType.BF16, 2, HEADS, DIM);
            Tensor x = dense(s, DType.BF16, 2, 64);
            Tensor y = s.scope().empty(DType.BF16, Device.CPU, 2, 64);
            Tensor out = s.scope().empty(DType.BF16, Device.CPU, query.sizes());
            calls.add(() -> {
                cuda.pagedAttention(query, caches, 0.3f, out);
                cuda.linearMixed(x, w, tiles, y);
                float[] all = Arrays.copyOf(Scope.floats(TORCH, out), 2 * HEADS * DIM + 2 * 64);
                System.arraycopy(Scope.floats(TORCH, y), 0, all, 2 * HEADS * DIM, 2 * 64);
                return all;
            });
        }
        List<float[]> expected = new ArrayList<>();
        for (Callable<float[]> call : calls) {
            expected.add(call.call());
        }
        try (ExecutorService callers = Executors.newFixedThreadPool(4)) {
            for (int round = 0; round < 25; round++) {
                List<Future<float[]>> results = callers.invokeAll(calls);
                for (int caller = 0; caller < 4; caller++) {
                    assertThat(results.get(caller).get()).as("round %d, caller %d", round, caller).containsExactly(expected.get(caller));
                }
            }
        }
    }

    private static Tensor dense(Samples s, DType type, long... sizes) {
        return s.normal(type, 1, Arrays.stream(sizes).reduce(1, (a, b) -> a * b)).reshape(s.scope(), sizes);
    }
}
