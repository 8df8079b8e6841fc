package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** That a device's kernels see and change operands of the host as those of the CPU would: the scalar ones, on either road, to the bit. */
class OnDeviceTest {

    private static final Libtorch TORCH = HostAsCuda.load();

    private final Kernels here = new ScalarKernels();
    private final Kernels there = onDevice(HostAsCudaKernels.over(new ScalarKernels()));

    private static Kernels onDevice(Kernels kernels) {
        return OnDevice.of(TORCH, HostAsCuda.DEVICE, kernels);
    }

    @Test
    void operands_that_are_one_or_parts_of_one_or_interleaved_stay_so() {
        both((k, s) -> {
            Tensor wide = s.normal(DType.FP32, 1, 4, 3, 10);
            Tensor left = wide.narrow(s.scope(), 2, 0, 5).transpose(s.scope(), 0, 1);
            Tensor right = wide.narrow(s.scope(), 2, 5, 5).transpose(s.scope(), 0, 1);
            k.add(left, right);
            k.add(right, right);
            k.add(wide, wide.narrow(s.scope(), 1, 2, 1).strided(s.scope(), new long[] {4, 3, 10}, new long[] {0, 0, 1}, 0));
            Tensor rows = s.normal(9, 64);
            k.swiGlu(rows, rows.narrow(s.scope(), 0, 0, 9), rows);
            return List.of(wide, rows);
        });
    }

    @Test
    void blocks_and_positions_and_ids_arrive() {
        both((k, s) -> {
            Tensor x = s.normal(4, 64);
            Tensor w = s.normal(96, 64);
            TileTable some = s.tiles(s.dtype(), 96, 64, 32);
            List<TileTable> tiles = new ArrayList<>(Arrays.asList(some, null, s.tiles(s.dtype(), 96, 64, 16), some));
            Tensor y = s.empty(4, 96);
            k.linearMixed(x, w, tiles, y);
            Tensor heads = s.normal(4, 2, 32);
            k.rope(heads, s.normal(DType.FP32, 1, 9, 32), s.integers(4, 9), false);
            return List.of(y, heads);
        });
    }

    @Test
    void caches_that_share_pages_are_written_where_they_lie() {
        try (Samples s = new Samples(TORCH, 2, 0)) {
            long half = 2L * KvPages.PAGE * 8 * 4;
            MemorySegment memory = s.arena().allocate(2 * (2 * half + 64), 64);
            MemorySegment addresses = s.arena().allocateFrom(ValueLayout.JAVA_LONG, memory.address() + 2 * half + 64, memory.address());
            KvPages cache = new KvPages(addresses, 20, 64 + half, 64, 2, 8, DType.FP32);
            Tensor rows = s.dense(DType.FP32, new float[] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 1, 2, 8);
            List<byte[]> results = new ArrayList<>();
            for (Kernels each : List.of(here, there)) {
                memory.fill((byte) 3);
                each.keep(rows, rows, List.of(cache.first(2)));
                each.keep(rows, rows, List.of(cache));
                results.add(memory.toArray(ValueLayout.JAVA_BYTE));
            }
            assertThat(results.get(1)).isEqualTo(results.get(0)).contains(3);
            assertThat(cache.row(true, 1, 19).toArray(ValueLayout.JAVA_FLOAT)).containsExactly(9, 10, 11, 12, 13, 14, 15, 16);
        }
    }

    @Test
    void addresses_stand_to_a_line_of_memory_there_as_they_do_here() {
        try (Samples s = new Samples(TORCH, 2, 0)) {
            Tensor x = s.dense(DType.BF16, new float[100], 100).narrow(s.scope(), 0, 13, 50);
            List<Long> seen = new ArrayList<>();
            onDevice(seeing(tensor -> {
                assertThat(tensor.device()).isEqualTo(HostAsCuda.DEVICE);
                seen.add(tensor.address());
            })).sumOfSquares(x);
            assertThat(seen).singleElement().satisfies(address -> {
                assertThat(address % 64).isEqualTo(x.address() % 64).isEqualTo(26);
                assertThat(address).isNotEqualTo(x.address());
            });
        }
    }

    /** An element before it, and one behind it. */
    @ParameterizedTest
    @ValueSource(longs = {-4, 40})
    void a_kernel_that_writes_beside_an_operand_is_found(long offset) {
        try (Samples s = new Samples(TORCH, 2, 0)) {
            Tensor x = s.dense(DType.FP32, new float[50], 50).narrow(s.scope(), 0, 20, 10);
            assertThatThrownBy(() -> onDevice(seeing(tensor -> MemorySegment.ofAddress(tensor.address() + offset).reinterpret(4)
                    .set(JAVA_INT_UNALIGNED, 0, 1))).sumOfSquares(x)).isInstanceOf(AssertionError.class)
                    .hasMessage("a kernel of cuda:0 wrote " + offset + " bytes from the start of an operand of 40");
            assertThat(Scope.floats(TORCH, x)).containsOnly(0);
        }
    }

    @Test
    void a_refusal_names_the_operands_of_the_device() {
        try (Samples s = new Samples(TORCH, 2, 0)) {
            Tensor x = s.scope().zeros(DType.BF16, Device.CPU, 2, 3);
            Tensor y = s.scope().zeros(DType.BF16, Device.CPU, 3, 2);
            Kernels cuda = TestedCuda.required().onDevice();
            assertThatThrownBy(() -> cuda.add(x, y)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("add: sizes must be equal; given x bf16[2, 3] cuda:0, y bf16[3, 2] cuda:0");
        }
    }

    /** Kernels that compute nothing of the first operand. */
    private static Kernels seeing(Consumer<Tensor> first) {
        return (Kernels) Proxy.newProxyInstance(Kernels.class.getClassLoader(), new Class<?>[] {Kernels.class}, (_, _, arguments) -> {
            first.accept((Tensor) arguments[0]);
            return 0.0;
        });
    }

    private void both(Operation operation) {
        for (int round = 0; round < 8; round++) {
            try (Samples ours = new Samples(TORCH, round, 0); Samples theirs = new Samples(TORCH, round, 0)) {
                List<Tensor> expected = operation.run(here, theirs);
                List<Tensor> actual = operation.run(there, ours);
                for (int i = 0; i < expected.size(); i++) {
                    assertThat(Scope.floats(TORCH, actual.get(i))).as("round %d, result %d", round, i)
                            .containsExactly(Scope.floats(TORCH, expected.get(i)));
                }
            }
        }
    }
}
