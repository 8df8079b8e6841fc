package io.inlay.kernels;

import static io.inlay.kernels.MadeGpu.made;
import static io.inlay.kernels.MadeGpu.must;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
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
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Launches, copies and graphs through JCuda, over memory that is the device's alone. */
class JCudaLauncherOnMadeGpu {

    private static final Libtorch TORCH = Libtorch.load();
    private static final Kernels REFERENCE = new ScalarKernels();
    private static final int NON_BLOCKING = 1;

    private final Random random = new Random(3);
    private final MadeMemory memory = new MadeMemory(0);
    private final Scope scope = new Scope(TORCH);
    private JCudaLauncher launcher;
    private Kernels kernels;
    private volatile long stream;

    @BeforeEach
    void open() {
        MadeGpu.usual();
        launcher = JCudaLauncher.open(memory, 0, () -> stream);
        kernels = new CudaKernels(launcher);
    }

    @AfterEach
    void everything_is_given_back() {
        launcher.close();
        memory.empty();
        assertThat(MadeGpu.held()).isEqualTo(MadeGpu.Held.NOTHING);
        scope.close();
    }

    private Tensor normal(DType type, long... sizes) {
        int count = 1;
        for (long size : sizes) {
            count *= (int) size;
        }
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return scope.copyTo(scope.of(Device.CPU, values, sizes), type, Device.CPU);
    }

    /** The same values in memory of the device, which the host cannot read. */
    private Tensor there(Tensor host) {
        long address = launcher.allocate(host.bytes());
        launcher.upload(host.segment(), address);
        return scope.wrap(MemorySegment.ofAddress(address).reinterpret(host.bytes()), host.dtype(), host.sizes());
    }

    private float[] back(Tensor device) {
        Tensor host = scope.empty(device.dtype(), Device.CPU, device.sizes());
        launcher.download(device.address(), host.segment());
        return Scope.floats(TORCH, host);
    }

    /** Runs an operation on operands of the host and of the device, and compares what it returns. */
    private void same(String what, List<Tensor> operands, BiFunction<Kernels, List<Tensor>, Tensor> operation) {
        List<Tensor> device = operands.stream().map(this::there).toList();
        long before = MadeGpu.pending(0);
        Tensor result = operation.apply(kernels, device);
        assertThat(MadeGpu.pending(0)).as(what + " is launched, not done").isGreaterThan(before);
        Results.expectClose(what, back(result), Scope.floats(TORCH, operation.apply(REFERENCE, operands)), 1e-5, 1e-5);
        assertThat(MadeGpu.pending(0)).isZero();
    }

    // ---- kernels and memory ----

    @Test
    void kernels_on_memory_of_the_device_alone_give_the_reference() {
        assertThat(launcher.name()).isEqualTo("Inlay CPU as GPU 0");
        assertThat(kernels.name()).isEqualTo("cuda on Inlay CPU as GPU 0");
        same("add", List.of(normal(DType.FP32, 5, 100), normal(DType.BF16, 5, 100)), (k, o) -> {
            k.add(o.get(0), o.get(1));
            return o.get(0);
        });
        same("norm", List.of(normal(DType.FP32, 7, 256), normal(DType.FP32, 256), normal(DType.FP32, 7, 256)), (k, o) -> {
            k.rmsNorm(o.get(0), o.get(1), 1e-5f, o.get(2), null);
            return o.get(2);
        });
        same("gates", List.of(normal(DType.BF16, 7, 264), normal(DType.BF16, 7, 264)), (k, o) -> {
            k.swiGlu(o.get(0), o.get(1), o.get(1));
            return o.get(1);
        });
        same("linear", List.of(normal(DType.BF16, 3, 128), normal(DType.BF16, 96, 128), normal(DType.FP32, 3, 96)), (k, o) -> {
            k.linear(o.get(0), o.get(1), null, o.get(2));
            return o.get(2);
        });
        Tensor x = normal(DType.FP32, 33, 500);
        assertThat(kernels.sumOfSquares(there(x))).isCloseTo(REFERENCE.sumOfSquares(x), org.assertj.core.data.Percentage.withPercentage(1e-9));
    }

    @Test
    void a_launch_may_have_more_shared_memory_than_it_gets_unasked() {
        int edge = 128;
        List<BlockCoordinate> blocks = new ArrayList<>();
        for (int i = 0; i < 128; i++) {
            blocks.add(new BlockCoordinate(i % 2, i / 2 % 2));
        }
        List<Integer> shared = new ArrayList<>();
        CountedLauncher counted = new CountedLauncher(launcher) {
            @Override
            public void launch(CudaLaunch launch) {
                shared.add(launch.sharedBytes());
                super.launch(launch);
            }
        };
        Kernels own = new CudaKernels(counted);
        Tensor gradient = normal(DType.BF16, 3, 2 * edge);
        Tensor x = normal(DType.BF16, 3, 2 * edge);
        Tensor expected = scope.empty(DType.FP32, Device.CPU, blocks.size(), edge, edge);
        Tensor actual = there(expected);
        REFERENCE.blockGradients(gradient, x, blocks, edge, expected);
        own.blockGradients(there(gradient), there(x), blocks, edge, actual);
        Results.expectClose("gradients", back(actual), Scope.floats(TORCH, expected), 1e-5, 1e-5);
        assertThat(shared).hasSize(1).allMatch(bytes -> bytes > 48 << 10);
    }

    @Test
    void what_is_uploaded_may_be_changed_at_once_and_copies_keep_their_place_among_launches() {
        Tensor one = there(normal(DType.FP32, 1, 4));
        Tensor sum = there(scope.of(Device.CPU, new float[4], 1, 4));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocate(16);
            for (int round = 1; round <= 3; round++) {
                for (int i = 0; i < 4; i++) {
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, i, round * (i + 1));
                }
                launcher.upload(values, one.address());
                kernels.add(sum, one);
            }
            values.fill((byte) 0);
        }
        assertThat(MadeGpu.pending(0)).isPositive();
        assertThat(back(sum)).containsExactly(6, 12, 18, 24);
    }

    @Test
    void memory_that_is_given_back_while_launches_use_it_serves_the_next_in_their_order() {
        Tensor target = there(scope.of(Device.CPU, new float[64], 1, 64));
        int before = memory.held();
        for (int round = 1; round <= 5; round++) {
            float[] values = new float[64];
            java.util.Arrays.fill(values, round);
            try (DeviceBuffer buffer = launcher.copyOf(scope.of(Device.CPU, values, 1, 64).segment())) {
                kernels.add(target, scope.wrap(MemorySegment.ofAddress(buffer.address()).reinterpret(256), DType.FP32, 1, 64));
            }
        }
        assertThat(memory.held()).isEqualTo(before);
        assertThat(back(target)).containsOnly(15);
    }

    @Test
    void launches_and_copies_go_to_the_stream_that_is_current() {
        MadeGpu.enter(0);
        long other = made("cuStreamCreate", NON_BLOCKING);
        Tensor x = there(normal(DType.FP32, 1, 64));
        kernels.add(x, x);
        long waiting = MadeGpu.pending(0);
        stream = other;
        same("add", List.of(normal(DType.FP32, 2, 8), normal(DType.FP32, 2, 8)), 0, waiting);
        stream = 0;
        assertThat(back(x)).hasSize(64);
        must("cuStreamDestroy_v2", other);
        must("cuDevicePrimaryCtxRelease_v2", 0);
    }

    /** The sum of two, while other streams' work goes on waiting. */
    private void same(String what, List<Tensor> operands, int result, long waiting) {
        List<Tensor> device = operands.stream().map(this::there).toList();
        kernels.add(device.get(0), device.get(1));
        float[] actual = back(device.get(result));
        assertThat(MadeGpu.pending(0)).as("the default stream was not waited for").isEqualTo(waiting);
        REFERENCE.add(operands.get(0), operands.get(1));
        Results.expectClose(what, actual, Scope.floats(TORCH, operands.get(result)), 1e-6, 0);
    }

    @Test
    void threads_that_never_saw_the_device_launch_and_copy_too() throws Exception {
        List<Callable<Void>> work = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            Tensor x = normal(DType.FP32, 3, 40);
            Tensor y = normal(DType.BF16, 3, 40);
            work.add(() -> {
                Tensor device = there(x);
                kernels.add(device, there(y));
                float[] actual = back(device);
                REFERENCE.add(x, y);
                Results.expectClose("add", actual, Scope.floats(TORCH, x), 1e-6, 1e-6);
                return null;
            });
        }
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            for (Future<Void> each : threads.invokeAll(work)) {
                each.get();
            }
        }
    }

    @Test
    void a_launcher_is_closed_while_kernels_that_it_has_launched_are_under_way() {
        MadeMemory own = new MadeMemory(0);
        Tensor host = normal(DType.FP32, 1, 64);
        Tensor x = there(host);
        REFERENCE.add(host, host);
        float[] twice = Scope.floats(TORCH, host);
        try (JCudaLauncher second = JCudaLauncher.open(own, 0, () -> 0)) {
            new CudaKernels(second).add(x, x);
            assertThat(MadeGpu.pending(0)).isPositive();
        }
        assertThat(back(x)).containsExactly(twice);
    }

    // ---- graphs ----

    @Test
    void launches_of_a_graph_run_again_with_what_lies_in_memory_by_then() {
        Tensor x = there(scope.of(Device.CPU, new float[8], 1, 8));
        Tensor y = there(normal(DType.FP32, 1, 8));
        List<CudaLaunch> launches = new ArrayList<>();
        CountedLauncher collecting = new CountedLauncher(launcher) {
            @Override
            public void launch(CudaLaunch launch) {
                launches.add(launch);
                super.launch(launch);
            }
        };
        Kernels own = new CudaKernels(collecting);
        own.add(x, y);
        own.add(x, y);
        float[] twice = back(x);
        try (CudaGraph graph = launcher.graph(launches)) {
            assertThat(back(x)).as("making it starts nothing").containsExactly(twice);
            Tensor ones = scope.of(Device.CPU, new float[] {1, 1, 1, 1, 1, 1, 1, 1}, 1, 8);
            launcher.upload(ones.segment(), y.address());
            graph.launch();
            graph.launch();
            float[] actual = back(x);
            for (int i = 0; i < 8; i++) {
                assertThat(actual[i]).isEqualTo(((twice[i] + 1) + 1 + 1) + 1);
            }
            MadeGpu.enter(0);
            long other = made("cuStreamCreate", NON_BLOCKING);
            must("cuDevicePrimaryCtxRelease_v2", 0);
            stream = other;
            graph.launch();
            assertThat(back(x)[0]).isEqualTo(actual[0] + 2);
            stream = 0;
            must("cuStreamDestroy_v2", other);
        }
        assertThat(MadeGpu.held().graphs() + MadeGpu.held().executableGraphs()).isZero();
    }

    @Test
    void a_graph_is_made_while_other_threads_allocate_launch_and_wait() throws Exception {
        Tensor x = there(normal(DType.FP32, 1, 64));
        kernels.add(x, x);
        CudaLaunch launch = CudaLaunch.of("add_f32_f32").grid(1).block(32).address(x.address()).number(64).address(x.address()).number(64)
                .number(1).number(64);
        try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
            List<Future<?>> all = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                all.add(threads.submit(() -> {
                    for (int round = 0; round < 50; round++) {
                        Tensor own = there(normalApart(round));
                        kernels.add(own, own);
                        back(own);
                    }
                }));
            }
            all.add(threads.submit(() -> {
                for (int round = 0; round < 50; round++) {
                    try (CudaGraph graph = launcher.graph(List.of(launch, launch, launch))) {
                        graph.launch();
                    }
                }
            }));
            for (Future<?> each : all) {
                each.get();
            }
        }
        launcher.download(x.address(), scope.empty(DType.FP32, Device.CPU, 1, 64).segment());
    }

    private Tensor normalApart(int round) {
        return scope.of(Device.CPU, new float[10 + round], 1, 10 + round);
    }

    @Test
    void work_that_belongs_together_goes_out_as_a_graph_from_its_third_time_on() {
        Tensor x = there(scope.of(Device.CPU, new float[] {1, 2}, 1, 2));
        CudaLaunch twice = CudaLaunch.of("add_f32_f32").grid(1).block(32).address(x.address()).number(2).address(x.address()).number(2)
                .number(1).number(2);
        MadeMemory own = new MadeMemory(0);
        try (GraphedLauncher graphed = new GraphedLauncher(JCudaLauncher.open(own, 0, () -> 0))) {
            for (int round = 1; round <= 5; round++) {
                graphed.together(() -> {
                    for (int i = 0; i < 3; i++) {
                        twice.on(graphed);
                    }
                });
                assertThat(MadeGpu.held().executableGraphs()).as("round %d", round).isEqualTo(round < 3 ? 0 : 1);
                assertThat(MadeGpu.held().graphs()).isZero();
            }
        }
        assertThat(back(x)).containsExactly(1 << 15, 2 << 15);
        assertThat(MadeGpu.held().executableGraphs()).isZero();
        own.empty();
    }

    @Test
    void a_graph_that_is_not_made_leaves_nothing() {
        Tensor x = there(normal(DType.FP32, 1, 8));
        CudaLaunch right = CudaLaunch.of("add_f32_f32").grid(1).block(32).address(x.address()).number(8).address(x.address()).number(8)
                .number(1).number(8);
        CudaLaunch wrong = CudaLaunch.of("add_f32_f32").grid(1).block(2000).address(x.address()).number(8).address(x.address()).number(8)
                .number(1).number(8);
        assertThatThrownBy(() -> launcher.graph(List.of(right, wrong))).hasMessage("add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThat(MadeGpu.held().graphs()).isZero();
        try (CudaGraph graph = launcher.graph(List.of(right, right))) {
            graph.launch();
            assertThat(back(x)).as("the next one is made").hasSize(8);
        }
    }

    // ---- errors ----

    private static void refused(int index, String words) {
        assertThatThrownBy(() -> JCudaLauncher.open(new MadeMemory(index), index, () -> 0)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE)).hasMessage(words);
    }

    @Test
    void what_is_not_there_or_too_old_is_told() {
        refused(2, "there is no cuda:2: the NVIDIA driver finds 2 GPUs, counted from 0");
        MadeGpu.machine(13000, 2, 7, 5, false);
        refused(1, "Inlay CPU as GPU 1 has compute capability 7.5; Inlay's kernels need 8.0 (A100, RTX 30) or newer");
        MadeGpu.machine(13000, 0, 9, 0, false);
        refused(0, "the NVIDIA driver finds no GPU that it can use: CUDA_ERROR_NO_DEVICE; nvidia-smi says more");
        MadeGpu.machine(13000, 2, 9, 0, false);
    }

    @Test
    void a_driver_older_than_the_kernels_names_both_versions_at_the_first_launch() {
        MadeGpu.machine(12040, 2, 8, 9, false);
        Tensor x = there(normal(DType.FP32, 1, 8));
        try (JCudaLauncher old = JCudaLauncher.open(new MadeMemory(0), 0, () -> 0)) {
            Kernels own = new CudaKernels(old);
            for (int attempt = 0; attempt < 2; attempt++) {
                assertThatThrownBy(() -> own.add(x, x)).isInstanceOfSatisfying(Problem.class,
                        problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE))
                        .hasMessageStartingWith("the NVIDIA driver does not load Inlay's kernels (add) on Inlay CPU as GPU 0: CUDA_ERROR_")
                        .hasMessageContaining("; it is made for CUDA 12.4 and they need " + CudaImages.read().cuda()
                                + ": update the driver, or compile them with an older nvcc");
            }
        }
    }

    @Test
    void a_kernel_that_fails_shows_at_the_next_copy_and_in_every_call_after_it() {
        MadeMemory own = new MadeMemory(1);
        JCudaLauncher failing = JCudaLauncher.open(own, 1, () -> 0);
        long address = failing.allocate(256);
        CudaLaunch wrong = CudaLaunch.of("add_f32_f32").grid(1).block(32).address(address + (1L << 30)).number(8).address(address).number(8)
                .number(1).number(8);
        CudaLaunch right = CudaLaunch.of("add_f32_f32").grid(1).block(32).address(address).number(8).address(address).number(8).number(1)
                .number(8);
        CudaGraph graph = failing.graph(List.of(right));
        failing.launch(wrong);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment to = arena.allocate(16);
            assertThatThrownBy(() -> failing.download(address, to)).isInstanceOf(IllegalStateException.class)
                    .hasMessageMatching("(a copy from Inlay CPU as GPU 1|what was launched on Inlay CPU as GPU 1) failed: "
                            + "CUDA_ERROR_ILLEGAL_ADDRESS");
            assertThatThrownBy(() -> failing.upload(to, address)).hasMessageEndingWith("failed: CUDA_ERROR_ILLEGAL_ADDRESS");
            assertThatThrownBy(() -> failing.launch(wrong)).hasMessageEndingWith("failed: CUDA_ERROR_ILLEGAL_ADDRESS");
            assertThatThrownBy(() -> failing.graph(List.of(wrong))).hasMessageEndingWith("failed: CUDA_ERROR_ILLEGAL_ADDRESS");
        }
        assertThat(MadeGpu.complaint()).startsWith("add_f32_f32 was given a pointer, argument 0");
        graph.close();
        failing.close();
        own.abandon();
        Tensor x = there(normal(DType.FP32, 1, 8));
        kernels.add(x, x);
        assertThat(back(x)).as("another GPU goes on").hasSize(8);
    }

    @Test
    void a_launch_that_no_gpu_takes_is_refused_at_once_and_nothing_is_lost() {
        Tensor x = there(normal(DType.FP32, 1, 8));
        assertThatThrownBy(() -> launcher.launch(CudaLaunch.of("add_f32_f32").grid(1).block(2000).address(x.address()).number(8)
                .address(x.address()).number(8).number(1).number(8))).hasMessage("add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThatThrownBy(() -> launcher.launch(CudaLaunch.of("add_f32_f32").grid(1).block(32).shared(300 << 10).address(x.address())
                .number(8).address(x.address()).number(8).number(1).number(8)))
                .hasMessage("shared memory for add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThat(back(x)).hasSize(8);
    }
}
