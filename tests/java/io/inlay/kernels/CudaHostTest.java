package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The stand-in for CUDA on the CPU, by kernels that are right and kernels that are wrong (tests/cuda/probe.cu). */
class CudaHostTest {

    private final Arena arena = Arena.ofShared();
    private HostLauncher host;

    @BeforeEach
    void find() {
        host = HostLauncher.required();
    }

    @AfterEach
    void close() {
        arena.close();
    }

    @Test
    void threads_see_what_others_wrote_before_a_barrier_and_a_shuffle() {
        MemorySegment in = floats(100);
        MemorySegment out = floats(100);
        CudaLaunch.of("probe_reverse").grid(1).block(128).address(in.address()).address(out.address()).integer(100).on(host);
        for (int i = 0; i < 100; i++) {
            float warp = 0;
            for (int j = i / 32 * 32; j < Math.min(100, i / 32 * 32 + 32); j++) {
                warp += 99 - j;
            }
            assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, i)).as("thread %d", i).isEqualTo(99 - i + warp);
        }
    }

    @Test
    void a_barrier_that_not_all_threads_reach_is_an_error() {
        assertThatThrownBy(() -> CudaLaunch.of("probe_divergent_barrier").grid(1).block(64).on(host))
                .hasMessageContaining("not all threads come to probe.cu:").hasMessageContaining("thread (0, 0, 0)")
                .hasMessageContaining("has ended");
        assertThatThrownBy(() -> CudaLaunch.of("probe_two_barriers").grid(1).block(64).on(host))
                .hasMessageContaining("wait at different barriers");
        assertThatThrownBy(() -> CudaLaunch.of("probe_divergent_shuffle").grid(1).block(32).address(floats(32).address()).on(host))
                .hasMessageContaining("not all threads come to probe.cu:");
    }

    @Test
    void every_block_finds_nan_in_shared_memory() {
        MemorySegment out = floats(6);
        CudaLaunch.of("probe_unset").grid(3).block(1).shared(16).address(out.address()).on(host);
        assertThat(out.toArray(ValueLayout.JAVA_FLOAT)).containsOnly(Float.NaN);
    }

    @Test
    void what_a_gpu_would_not_forgive_is_refused() {
        assertThatThrownBy(() -> CudaLaunch.of("probe_beyond_dynamic").grid(1).block(1).shared(16).integer(4).on(host))
                .hasMessageContaining("wrote behind the 16 bytes of dynamic shared memory");
        CudaLaunch.of("probe_beyond_dynamic").grid(1).block(1).shared(16).integer(3).on(host);
        MemorySegment memory = floats(8);
        assertThatThrownBy(() -> CudaLaunch.of("probe_misaligned").grid(1).block(1).address(memory.address()).address(memory.address())
                .on(host)).hasMessageContaining("load_pack of an address that is not a multiple of 16");
        assertThatThrownBy(() -> CudaLaunch.of("probe_count").grid(1).block(1).integer(1).on(host))
                .hasMessage("probe_count: argument 0 has 8 bytes, not 4");
        assertThatThrownBy(() -> CudaLaunch.of("probe_count").grid(1).block(1).on(host))
                .hasMessage("probe_count takes 1 arguments, not 0");
        assertThatThrownBy(() -> CudaLaunch.of("probe_nothing").grid(1).block(1).on(host))
                .hasMessageContaining("there is no kernel probe_nothing");
        assertThatThrownBy(() -> CudaLaunch.of("probe_count").grid(1).block(2048).address(0).on(host))
                .hasMessageContaining("no GPU takes a grid of 1 x 1 x 1 blocks of 2048 threads");
    }

    @Test
    void copies_to_shared_memory_land_when_they_are_waited_for() {
        MemorySegment in = floats(128);
        MemorySegment out = floats(128);
        CudaLaunch.of("probe_copy").grid(1).block(32).address(in.address()).address(out.address()).integer(1).on(host);
        for (int i = 0; i < 128; i++) {
            assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, i)).isEqualTo(i / 4 == 1 ? 0 : i);
        }
        assertThatThrownBy(() -> CudaLaunch.of("probe_copy").grid(1).block(32).address(in.address()).address(out.address()).integer(0)
                .on(host)).hasMessageContaining("ended before its copies to shared memory were waited for");
        assertThat(out.getAtIndex(ValueLayout.JAVA_FLOAT, 0)).isNaN();
    }

    @Test
    void a_warp_multiplies_matrices() {
        MemorySegment a = arena.allocate(ValueLayout.JAVA_SHORT, 256);
        MemorySegment b = arena.allocate(ValueLayout.JAVA_SHORT, 128);
        for (int i = 0; i < 256; i++) {
            a.setAtIndex(ValueLayout.JAVA_SHORT, i, BFloat16.fromFloat(i * 7 % 13 - 6));
        }
        for (int i = 0; i < 128; i++) {
            b.setAtIndex(ValueLayout.JAVA_SHORT, i, BFloat16.fromFloat(i * 5 % 11 - 5));
        }
        MemorySegment d = floats(128);
        CudaLaunch.of("probe_multiply").grid(1).block(32).address(a.address()).address(b.address()).address(d.address()).on(host);
        for (int row = 0; row < 16; row++) {
            for (int column = 0; column < 8; column++) {
                float sum = 0;
                for (int k = 0; k < 16; k++) {
                    sum += ((row * 16 + k) * 7 % 13 - 6) * (float) ((k * 8 + column) * 5 % 11 - 5);
                }
                assertThat(d.getAtIndex(ValueLayout.JAVA_FLOAT, row * 8 + column)).isEqualTo(sum);
            }
        }
    }

    @Test
    void atomic_sums_count_every_thread_of_every_block() {
        MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
        CudaLaunch.of("probe_count").grid(20, 3, 2).block(16, 4, 2).address(count.address()).on(host);
        assertThat(count.get(ValueLayout.JAVA_INT, 0)).isEqualTo(120 * 128);
    }

    /** 0, 1, 2 ... */
    private MemorySegment floats(int count) {
        MemorySegment memory = arena.allocate(4L * count, 256);
        for (int i = 0; i < count; i++) {
            memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, i);
        }
        return memory;
    }
}
