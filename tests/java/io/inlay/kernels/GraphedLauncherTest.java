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
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Launches that come again go to the device as a graph, and only those that are the same in all. */
class GraphedLauncherTest {

    private static final Libtorch TORCH = Libtorch.load();

    private HostLauncher host;
    private CountedLauncher launcher;
    private Kernels cuda;
    private Samples s;

    @BeforeEach
    void find() {
        host = HostLauncher.required();
        launcher = new CountedLauncher(host);
        cuda = new CudaKernels(launcher);
        s = new Samples(TORCH, 7, 0);
    }

    @AfterEach
    void close() {
        if (launcher != null) {
            launcher.close();
            s.close();
        }
    }

    private Tensor dense(DType type, long... sizes) {
        return s.normal(type, 1, Arrays.stream(sizes).reduce(1, (a, b) -> a * b)).reshape(s.scope(), sizes);
    }

    private static void addThrice(Kernels kernels, Tensor x, Tensor y) {
        for (int i = 0; i < 3; i++) {
            kernels.add(x, y);
        }
    }

    @Test
    void what_comes_a_third_time_is_a_graph_and_reads_what_lies_in_memory_by_then() {
        Tensor x = dense(DType.FP32, 3, 40);
        Tensor expected = s.scope().empty(DType.FP32, Device.CPU, 3, 40);
        TORCH.copy(expected, x);
        for (int round = 0; round < 5; round++) {
            Tensor y = dense(DType.FP32, 3, 40);
            Tensor same = held(round, y);
            launcher.forget();
            cuda.together(() -> addThrice(cuda, x, same));
            addThrice(new ScalarKernels(), expected, y);
            assertThat(Scope.floats(TORCH, x)).as("round %d", round).containsExactly(Scope.floats(TORCH, expected));
            assertThat(launcher.launched()).containsExactly("add_f32_f32", "add_f32_f32", "add_f32_f32");
            assertThat(launcher.graphs()).as("round %d", round).isEqualTo(round < 2 ? 0 : 1);
        }
    }

    private Tensor kept;

    /** The values at the same address in every round. */
    private Tensor held(int round, Tensor values) {
        if (round == 0) {
            kept = s.scope().empty(DType.FP32, Device.CPU, values.sizes());
        }
        TORCH.copy(kept, values);
        return kept;
    }

    @Test
    void nothing_starts_before_the_work_ends_and_a_nested_piece_is_part_of_it() {
        Tensor x = dense(DType.FP32, 1, 40);
        Tensor y = dense(DType.FP32, 1, 40);
        float[] before = Scope.floats(TORCH, x);
        cuda.together(() -> {
            addThrice(cuda, x, y);
            cuda.together(() -> addThrice(cuda, x, y));
            assertThat(Scope.floats(TORCH, x)).containsExactly(before);
            assertThat(launcher.launched()).isEmpty();
        });
        assertThat(launcher.launched()).hasSize(6);
        assertThat(Scope.floats(TORCH, x)).isNotEqualTo(before);
    }

    @Test
    void the_same_kernels_with_another_address_number_or_size_are_not_taken_for_the_same() {
        Tensor weight = dense(DType.FP32, 40);
        Tensor x = dense(DType.FP32, 3, 40);
        List<Tensor> outs = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            outs.add(dense(DType.FP32, 3, 40));
        }
        for (int round = 0; round < 4; round++) {
            launcher.forget();
            for (int variant = 0; variant < 3; variant++) {
                Tensor out = outs.get(variant == 1 ? 1 : 0);
                float eps = variant == 2 ? 0.5f : 1e-5f;
                cuda.together(() -> {
                    for (int i = 0; i < 3; i++) {
                        cuda.rmsNorm(x, weight, eps, out, null);
                    }
                });
                new ScalarKernels().rmsNorm(x, weight, eps, outs.get(3), null);
                Results.expectClose("variant " + variant, Scope.floats(TORCH, out), Scope.floats(TORCH, outs.get(3)), 1e-5, 1e-5);
            }
            assertThat(launcher.graphs()).as("round %d", round).isEqualTo(round < 2 ? 0 : 3);
        }
    }

    @Test
    void a_copy_to_the_device_comes_after_what_was_launched_before_it() {
        PagedSequences sequences = new PagedSequences(s, DType.FP32, 1, 2, 16, 0, 2, 2);
        Tensor query = dense(DType.FP32, 1, 4, 16);
        float[][] expected = new float[2][];
        for (int i = 0; i < 2; i++) {
            Tensor out = s.scope().empty(DType.FP32, Device.CPU, query.sizes());
            cuda.pagedAttention(query, List.of(sequences.view(i, 0, 20)), 0.3f, out);
            expected[i] = Scope.floats(TORCH, out);
        }
        List<Tensor> outs = List.of(dense(DType.FP32, 1, 4, 16), dense(DType.FP32, 1, 4, 16));
        for (int round = 0; round < 4; round++) {
            cuda.together(() -> {
                for (int i = 0; i < 2; i++) {
                    cuda.pagedAttention(query, List.of(sequences.view(i, 0, 20)), 0.3f, outs.get(i));
                    cuda.pagedAttention(query, List.of(sequences.view(i, 0, 20)), 0.3f, outs.get(i));
                }
            });
            for (int i = 0; i < 2; i++) {
                assertThat(Scope.floats(TORCH, outs.get(i))).as("round %d, cache %d", round, i).containsExactly(expected[i]);
            }
        }
        assertThat(launcher.graphs()).isEqualTo(2 * 2);
    }

    @Test
    void memory_that_work_gives_back_is_there_until_what_reads_it_has_started() {
        Tensor gradOut = dense(DType.BF16, 12, 64);
        Tensor x = dense(DType.BF16, 12, 64);
        List<BlockCoordinate> blocks = List.of(new BlockCoordinate(0, 1), new BlockCoordinate(1, 0));
        Tensor actual = s.scope().empty(DType.FP32, Device.CPU, 2, 32, 32);
        Tensor expected = s.scope().empty(DType.FP32, Device.CPU, 2, 32, 32);
        new ScalarKernels().blockGradients(gradOut, x, blocks, 32, expected);
        int before = host.held();
        for (int round = 0; round < 3; round++) {
            cuda.together(() -> cuda.blockGradients(gradOut, x, blocks, 32, actual));
            Results.expectClose("round " + round, Scope.floats(TORCH, actual), Scope.floats(TORCH, expected), 1e-4, 1e-4);
        }
        assertThat(host.held()).isEqualTo(before);
    }

    @Test
    void work_that_fails_leaves_nothing_started_and_nothing_allocated() {
        Tensor x = dense(DType.FP32, 1, 40);
        Tensor y = dense(DType.FP32, 1, 40);
        float[] before = Scope.floats(TORCH, x);
        int held = host.held();
        assertThatThrownBy(() -> cuda.together(() -> {
            addThrice(cuda, x, y);
            throw new IllegalArgumentException("an operand that does not fit");
        })).hasMessage("an operand that does not fit");
        assertThat(launcher.launched()).isEmpty();
        assertThat(Scope.floats(TORCH, x)).containsExactly(before);
        assertThat(host.held()).isEqualTo(held);
        cuda.add(x, y);
        assertThat(launcher.launched()).containsExactly("add_f32_f32");
    }

    @Test
    void of_many_sequences_those_used_longest_ago_are_forgotten_and_made_again() {
        Tensor y = dense(DType.FP32, GraphedLauncher.REMEMBERED + 1, 8);
        List<Tensor> rows = new ArrayList<>();
        for (int i = 0; i <= GraphedLauncher.REMEMBERED; i++) {
            rows.add(y.narrow(s.scope(), 0, i, 1));
        }
        Tensor x = dense(DType.FP32, 1, 8);
        for (int round = 0; round < 3; round++) {
            cuda.together(() -> addThrice(cuda, x, rows.getFirst()));
        }
        assertThat(launcher.graphs()).isOne();
        assertThat(launcher.graphsHeld()).isOne();
        rows.subList(0, GraphedLauncher.REMEMBERED).forEach(row -> cuda.together(() -> addThrice(cuda, x, row)));
        assertThat(launcher.graphsHeld()).isOne();
        cuda.together(() -> addThrice(cuda, x, rows.getLast()));
        assertThat(launcher.graphsHeld()).isZero();
        launcher.forget();
        cuda.together(() -> addThrice(cuda, x, rows.getFirst()));
        assertThat(launcher.graphs()).isZero();
    }

    @Test
    void where_no_graph_can_be_made_launches_go_on_one_by_one() {
        Kernels refused = new CudaKernels(new CountedLauncher(host) {
            @Override
            public CudaGraph graph(List<CudaLaunch> launches) {
                throw new IllegalStateException("cuGraphInstantiate failed: CUDA_ERROR_OUT_OF_MEMORY");
            }
        });
        Tensor x = dense(DType.FP32, 1, 40);
        Tensor y = dense(DType.FP32, 1, 40);
        Tensor expected = s.scope().empty(DType.FP32, Device.CPU, 1, 40);
        TORCH.copy(expected, x);
        for (int round = 0; round < 4; round++) {
            refused.together(() -> addThrice(refused, x, y));
            addThrice(new ScalarKernels(), expected, y);
        }
        assertThat(Scope.floats(TORCH, x)).containsExactly(Scope.floats(TORCH, expected));
    }

    @Test
    void threads_that_share_pages_and_lists_do_not_change_them_under_what_another_has_collected() throws Exception {
        PagedSequences sequences = new PagedSequences(s, DType.BF16, 1, 2, 16, 0, 3, 3, 3, 3);
        Tensor w = dense(DType.BF16, 64, 64);
        List<Callable<float[]>> calls = new ArrayList<>();
        for (int caller = 0; caller < 4; caller++) {
            List<KvPages> caches = List.of(sequences.view(caller, 0, 20), sequences.view((caller + 1) % 4, 0, 31));
            List<TileTable> tiles = List.of(s.tiles(DType.BF16, 64, 64, 64), s.tiles(DType.BF16, 64, 64, 64));
            Tensor query = dense(DType.BF16, 2, 4, 16);
            Tensor x = dense(DType.BF16, 2, 64);
            Tensor y = s.scope().empty(DType.BF16, Device.CPU, 2, 64);
            Tensor out = s.scope().empty(DType.BF16, Device.CPU, query.sizes());
            boolean together = caller % 2 == 0;
            Runnable work = () -> {
                cuda.pagedAttention(query, caches, 0.3f, out);
                cuda.linearMixed(x, w, tiles, y);
                cuda.pagedAttention(query, caches, 0.3f, out);
            };
            calls.add(() -> {
                if (together) {
                    cuda.together(work);
                } else {
                    work.run();
                }
                float[] all = Arrays.copyOf(Scope.floats(TORCH, out), 2 * 4 * 16 + 2 * 64);
                System.arraycopy(Scope.floats(TORCH, y), 0, all, 2 * 4 * 16, 2 * 64);
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
        assertThat(launcher.graphs()).isPositive();
    }
}
