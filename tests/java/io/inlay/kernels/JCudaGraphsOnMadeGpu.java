package io.inlay.kernels;

import static io.inlay.kernels.MadeGpu.made;
import static io.inlay.kernels.MadeGpu.must;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Tensor;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Graphs through JCuda, over memory that is the device's alone. */
class JCudaGraphsOnMadeGpu {

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

    @Test
    void launches_of_a_graph_run_again_with_what_lies_in_memory_by_then() {
        Tensor x = device.there(device.floats(new float[8]));
        Tensor y = device.there(device.normal(DType.FP32, 1, 8));
        List<CudaLaunch> launches = new ArrayList<>();
        CountedLauncher collecting = new CountedLauncher(device.launcher()) {
            @Override
            public void launch(CudaLaunch launch) {
                launches.add(launch);
                super.launch(launch);
            }
        };
        Kernels own = new CudaKernels(collecting);
        own.add(x, y);
        own.add(x, y);
        float[] twice = device.back(x);
        try (CudaGraph graph = device.launcher().graph(launches)) {
            assertThat(device.back(x)).as("making it starts nothing").containsExactly(twice);
            Tensor ones = device.floats(1, 1, 1, 1, 1, 1, 1, 1);
            device.launcher().upload(ones.segment(), y.address());
            graph.launch();
            graph.launch();
            float[] actual = device.back(x);
            for (int i = 0; i < 8; i++) {
                assertThat(actual[i]).isEqualTo(((twice[i] + 1) + 1 + 1) + 1);
            }
            MadeGpu.enter(0);
            long other = made("cuStreamCreate", NON_BLOCKING);
            must("cuDevicePrimaryCtxRelease_v2", 0);
            device.computeOn(other);
            graph.launch();
            assertThat(device.back(x)[0]).isEqualTo(actual[0] + 2);
            device.computeOn(0);
            must("cuStreamDestroy_v2", other);
        }
        assertThat(MadeGpu.held().graphs() + MadeGpu.held().executableGraphs()).isZero();
    }

    @Test
    void what_is_launched_on_the_default_stream_while_a_graph_is_made_is_not_part_of_it() {
        Tensor x = device.there(device.floats(1, 2));
        Tensor y = device.there(device.floats(3, 5));
        device.launcher().launch(MadeDevice.twice(x));
        try (CudaGraph graph = device.launcher().graph(new AbstractList<>() {
            @Override
            public CudaLaunch get(int i) {
                device.launcher().launch(MadeDevice.twice(y));
                return MadeDevice.twice(x);
            }

            @Override
            public int size() {
                return 2;
            }
        })) {
            assertThat(device.back(x)).containsExactly(2, 4);
            assertThat(device.back(y)).containsExactly(12, 20);
            graph.launch();
            assertThat(device.back(x)).containsExactly(8, 16);
            assertThat(device.back(y)).containsExactly(12, 20);
        }
    }

    @Test
    void a_graph_is_made_while_other_threads_allocate_launch_and_wait() throws Exception {
        Tensor x = device.there(device.normal(DType.FP32, 1, 64));
        kernels.add(x, x);
        CudaLaunch launch = MadeDevice.twice(x);
        try (ExecutorService threads = Executors.newFixedThreadPool(3)) {
            List<Future<?>> all = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                all.add(threads.submit(() -> {
                    for (int round = 0; round < 50; round++) {
                        Tensor own = device.there(device.floats(new float[10 + round]));
                        kernels.add(own, own);
                        device.back(own);
                    }
                }));
            }
            all.add(threads.submit(() -> {
                for (int round = 0; round < 50; round++) {
                    try (CudaGraph graph = device.launcher().graph(List.of(launch, launch, launch))) {
                        graph.launch();
                    }
                }
            }));
            for (Future<?> each : all) {
                each.get();
            }
        }
        device.launcher().download(x.address(), device.scope().empty(DType.FP32, Device.CPU, 1, 64).segment());
    }

    @Test
    void work_that_belongs_together_goes_out_as_a_graph_from_its_third_time_on() {
        Tensor x = device.there(device.floats(1, 2));
        CudaLaunch twice = MadeDevice.twice(x);
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
        assertThat(device.back(x)).containsExactly(1 << 15, 2 << 15);
        assertThat(MadeGpu.held().executableGraphs()).isZero();
        own.empty();
    }

    @Test
    void a_graph_that_is_not_made_leaves_nothing() {
        Tensor x = device.there(device.normal(DType.FP32, 1, 8));
        CudaLaunch right = MadeDevice.twice(x);
        CudaLaunch wrong = MadeDevice.twice(x).block(2000);
        assertThatThrownBy(() -> device.launcher().graph(List.of(right, wrong))).hasMessage("add_f32_f32 failed: CUDA_ERROR_INVALID_VALUE");
        assertThat(MadeGpu.held().graphs()).isZero();
        try (CudaGraph graph = device.launcher().graph(List.of(right, right))) {
            graph.launch();
            assertThat(device.back(x)).as("the next one is made").hasSize(8);
        }
    }
}
