package io.inlay.kernels;

import static io.inlay.kernels.MadeGpu.made;
import static io.inlay.kernels.MadeGpu.must;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BiFunction;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Launches and copies through JCuda, over memory that is the device's alone. */
class JCudaLauncherOnMadeGpu {

    private static final Kernels REFERENCE = new ScalarKernels();
    private static final int NON_BLOCKING = 1;

    private MadeDevice device;
    private Kernels kernels;

    @BeforeEach
    void open() {
        device = new MadeDevice();
        kernels = new CudaKernels(device.launcher());
    }

    @AfterEach
    void everything_is_given_back() {
        device.close();
    }

    /** Runs an operation on operands of the host and of the device, and compares what it returns. */
    private void same(String what, List<Tensor> operands, BiFunction<Kernels, List<Tensor>, Tensor> operation) {
        List<Tensor> there = operands.stream().map(device::there).toList();
        long before = MadeGpu.pending(0);
        Tensor result = operation.apply(kernels, there);
        assertThat(MadeGpu.pending(0)).as(what + " is launched, not done").isGreaterThan(before);
        Results.expectClose(what, device.back(result), MadeDevice.valuesOf(operation.apply(REFERENCE, operands)), 1e-5, 1e-5);
        assertThat(MadeGpu.pending(0)).isZero();
    }

    // ---- kernels and memory ----

    @Test
    void kernels_on_memory_of_the_device_alone_give_the_reference() {
        assertThat(device.launcher().name()).isEqualTo("Inlay CPU as GPU 0");
        assertThat(kernels.name()).isEqualTo("cuda on Inlay CPU as GPU 0");
        same("add", List.of(device.normal(DType.FP32, 5, 100), device.normal(DType.BF16, 5, 100)), (k, o) -> {
            k.add(o.get(0), o.get(1));
            return o.get(0);
        });
        Tensor rows = device.normal(DType.FP32, 7, 256);
        same("norm", List.of(rows, device.normal(DType.FP32, 256), device.normal(DType.FP32, 7, 256)), (k, o) -> {
            k.rmsNorm(o.get(0), o.get(1), 1e-5f, o.get(2), null);
            return o.get(2);
        });
        same("gates", List.of(device.normal(DType.BF16, 7, 264), device.normal(DType.BF16, 7, 264)), (k, o) -> {
            k.swiGlu(o.get(0), o.get(1), o.get(1));
            return o.get(1);
        });
        Tensor weight = device.normal(DType.BF16, 96, 128);
        same("linear", List.of(device.normal(DType.BF16, 3, 128), weight, device.normal(DType.FP32, 3, 96)), (k, o) -> {
            k.linear(o.get(0), o.get(1), null, o.get(2));
            return o.get(2);
        });
        Tensor x = device.normal(DType.FP32, 33, 500);
        assertThat(kernels.sumOfSquares(device.there(x))).isCloseTo(REFERENCE.sumOfSquares(x), Percentage.withPercentage(1e-9));
    }

    @Test
    void a_launch_may_have_more_shared_memory_than_it_gets_unasked() {
        int edge = 128;
        List<BlockCoordinate> blocks = new ArrayList<>();
        for (int i = 0; i < 128; i++) {
            blocks.add(new BlockCoordinate(i % 2, i / 2 % 2));
        }
        List<Integer> shared = new ArrayList<>();
        CountedLauncher counted = new CountedLauncher(device.launcher()) {
            @Override
            public void launch(CudaLaunch launch) {
                shared.add(launch.sharedBytes());
                super.launch(launch);
            }
        };
        Kernels own = new CudaKernels(counted);
        Tensor gradient = device.normal(DType.BF16, 3, 2 * edge);
        Tensor x = device.normal(DType.BF16, 3, 2 * edge);
        Tensor expected = device.scope().empty(DType.FP32, Device.CPU, blocks.size(), edge, edge);
        Tensor actual = device.there(expected);
        REFERENCE.blockGradients(gradient, x, blocks, edge, expected);
        own.blockGradients(device.there(gradient), device.there(x), blocks, edge, actual);
        Results.expectClose("gradients", device.back(actual), MadeDevice.valuesOf(expected), 1e-5, 1e-5);
        assertThat(shared).hasSize(1).allMatch(bytes -> bytes > 48 << 10);
    }

    @Test
    void what_is_uploaded_may_be_changed_at_once_and_copies_keep_their_place_among_launches() {
        Tensor one = device.there(device.normal(DType.FP32, 1, 4));
        Tensor sum = device.there(device.floats(new float[4]));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocate(16);
            for (int round = 1; round <= 3; round++) {
                for (int i = 0; i < 4; i++) {
                    values.setAtIndex(ValueLayout.JAVA_FLOAT, i, round * (i + 1));
                }
                device.launcher().upload(values, one.address());
                kernels.add(sum, one);
            }
            values.fill((byte) 0);
        }
        assertThat(MadeGpu.pending(0)).isPositive();
        assertThat(device.back(sum)).containsExactly(6, 12, 18, 24);
    }

    @Test
    void memory_that_is_given_back_while_launches_use_it_serves_the_next_in_their_order() {
        Tensor target = device.there(device.floats(new float[64]));
        int before = device.memory().held();
        for (int round = 1; round <= 5; round++) {
            float[] values = new float[64];
            Arrays.fill(values, round);
            try (DeviceBuffer buffer = device.launcher().copyOf(device.floats(values).segment())) {
                kernels.add(target, device.scope().wrap(MemorySegment.ofAddress(buffer.address()).reinterpret(256), DType.FP32, 1, 64));
            }
        }
        assertThat(device.memory().held()).isEqualTo(before);
        assertThat(device.back(target)).containsOnly(15);
    }

    @Test
    void launches_and_copies_go_to_the_stream_that_is_current() {
        MadeGpu.enter(0);
        long other = made("cuStreamCreate", NON_BLOCKING);
        Tensor x = device.there(device.normal(DType.FP32, 1, 64));
        kernels.add(x, x);
        long waiting = MadeGpu.pending(0);
        device.computeOn(other);
        same("add", List.of(device.normal(DType.FP32, 2, 8), device.normal(DType.FP32, 2, 8)), 0, waiting);
        device.computeOn(0);
        assertThat(device.back(x)).hasSize(64);
        must("cuStreamDestroy_v2", other);
        must("cuDevicePrimaryCtxRelease_v2", 0);
    }

    /** The sum of two, while other streams' work goes on waiting. */
    private void same(String what, List<Tensor> operands, int result, long waiting) {
        List<Tensor> there = operands.stream().map(device::there).toList();
        kernels.add(there.get(0), there.get(1));
        float[] actual = device.back(there.get(result));
        assertThat(MadeGpu.pending(0)).as("the default stream was not waited for").isEqualTo(waiting);
        REFERENCE.add(operands.get(0), operands.get(1));
        Results.expectClose(what, actual, MadeDevice.valuesOf(operands.get(result)), 1e-6, 0);
    }

    @Test
    void threads_that_never_saw_the_device_launch_and_copy_too() throws Exception {
        List<Callable<Void>> work = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            Tensor x = device.normal(DType.FP32, 3, 40);
            Tensor y = device.normal(DType.BF16, 3, 40);
            work.add(() -> {
                Tensor sum = device.there(x);
                kernels.add(sum, device.there(y));
                float[] actual = device.back(sum);
                REFERENCE.add(x, y);
                Results.expectClose("add", actual, MadeDevice.valuesOf(x), 1e-6, 1e-6);
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
    void a_thread_may_begin_with_any_call() throws Exception {
        Tensor host = device.floats(1, 2);
        Tensor x = device.there(host);
        CudaLaunch twice = MadeDevice.twice(x);
        inThreadOfItsOwn(() -> device.launcher().launch(twice));
        CudaGraph[] graph = new CudaGraph[1];
        inThreadOfItsOwn(() -> graph[0] = device.launcher().graph(List.of(twice)));
        inThreadOfItsOwn(() -> graph[0].launch());
        Tensor result = device.scope().empty(DType.FP32, Device.CPU, 1, 2);
        inThreadOfItsOwn(() -> device.launcher().download(x.address(), result.segment()));
        assertThat(MadeDevice.valuesOf(result)).containsExactly(4, 8);
        inThreadOfItsOwn(() -> device.launcher().upload(host.segment(), x.address()));
        assertThat(device.back(x)).containsExactly(1, 2);
        inThreadOfItsOwn(() -> graph[0].close());
    }

    private static void inThreadOfItsOwn(Runnable work) throws Exception {
        try (ExecutorService thread = Executors.newSingleThreadExecutor()) {
            thread.submit(work).get();
        }
    }

    @Test
    void a_launcher_is_closed_while_kernels_that_it_has_launched_are_under_way() {
        MadeMemory own = new MadeMemory(0);
        Tensor host = device.normal(DType.FP32, 1, 64);
        Tensor x = device.there(host);
        REFERENCE.add(host, host);
        float[] twice = MadeDevice.valuesOf(host);
        try (JCudaLauncher second = JCudaLauncher.open(own, 0, () -> 0)) {
            new CudaKernels(second).add(x, x);
            assertThat(MadeGpu.pending(0)).isPositive();
        }
        assertThat(device.back(x)).containsExactly(twice);
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
        Tensor x = device.there(device.normal(DType.FP32, 1, 8));
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
        Tensor x = device.there(device.normal(DType.FP32, 1, 8));
        kernels.add(x, x);
        assertThat(device.back(x)).as("another GPU goes on").hasSize(8);
    }

    @Test
    void a_launch_that_no_gpu_takes_is_refused_at_once_and_nothing_is_lost() {
        Tensor x = device.there(device.normal(DType.FP32, 1, 8));
        assertThatThrownBy(() -> device.launcher().launch(MadeDevice.twice(x).block(2000)))
                .hasMessage("add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThatThrownBy(() -> device.launcher().launch(MadeDevice.twice(x).shared(300 << 10)))
                .hasMessage("shared memory for add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThat(device.back(x)).hasSize(8);
    }
}
