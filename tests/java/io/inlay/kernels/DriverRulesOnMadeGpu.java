package io.inlay.kernels;

import static io.inlay.kernels.MadeGpu.cu;
import static io.inlay.kernels.MadeGpu.made;
import static io.inlay.kernels.MadeGpu.must;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUresult;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** That the stand-in for the driver refuses what NVIDIA's documentation forbids, and does work no sooner than it must. */
class DriverRulesOnMadeGpu {

    private static final long NONE = 0;
    private static final long UNKNOWN = 0x1230;
    private static final int NON_BLOCKING = 1;

    private final Arena arena = Arena.ofShared();

    @BeforeEach
    void enter() {
        MadeGpu.usual();
        MadeGpu.enter(0);
    }

    @AfterEach
    void leave() {
        must("cuDevicePrimaryCtxRelease_v2", 0);
        assertThat(MadeGpu.held()).isEqualTo(MadeGpu.Held.NOTHING);
        arena.close();
    }

    static void refused(int result, int expected) {
        assertThat(CUresult.stringFor(result)).isEqualTo(CUresult.stringFor(expected));
    }

    private MemorySegment bytes(int... values) {
        MemorySegment memory = arena.allocate(values.length);
        set(memory, values);
        return memory;
    }

    private static void set(MemorySegment memory, int... values) {
        for (int i = 0; i < values.length; i++) {
            memory.set(JAVA_BYTE, i, (byte) values[i]);
        }
    }

    private static byte[] read(long address, int count) {
        try (Arena own = Arena.ofConfined()) {
            MemorySegment to = own.allocate(count);
            must("cuMemcpyDtoH_v2", to, address, (long) count);
            return to.toArray(JAVA_BYTE);
        }
    }

    @Test
    void a_thread_without_a_context_gets_nothing() {
        must("cuCtxSetCurrent", NONE);
        refused(cu("cuStreamCreate", arena.allocate(JAVA_LONG), 0), CUresult.CUDA_ERROR_INVALID_CONTEXT);
        refused(cu("cuMemAlloc_v2", arena.allocate(JAVA_LONG), 8L), CUresult.CUDA_ERROR_INVALID_CONTEXT);
        refused(cu("cuCtxSetCurrent", UNKNOWN), CUresult.CUDA_ERROR_INVALID_CONTEXT);
        refused(cu("cuDeviceGet", arena.allocate(JAVA_INT), 2), CUresult.CUDA_ERROR_INVALID_DEVICE);
        refused(cu("cuDevicePrimaryCtxRelease_v2", 1), CUresult.CUDA_ERROR_INVALID_CONTEXT);
    }

    @Test
    void a_context_that_nobody_retains_is_destroyed_with_what_it_has() {
        MadeGpu.enter(1);
        long stream = made("cuStreamCreate", 0);
        assertThat(MadeGpu.held().streams()).isOne();
        must("cuDevicePrimaryCtxRelease_v2", 1);
        refused(cu("cuStreamSynchronize", stream), CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED);
        assertThat(MadeGpu.held().lost()).isOne();
        MadeGpu.restart();
        MadeGpu.enter(0);
    }

    @Test
    void handles_that_are_none_or_no_more_are_refused() {
        long stream = made("cuStreamCreate", NON_BLOCKING);
        long event = made("cuEventCreate", 0);
        must("cuStreamDestroy_v2", stream);
        must("cuEventDestroy_v2", event);
        for (long each : new long[] {UNKNOWN, stream}) {
            refused(cu("cuStreamSynchronize", each), CUresult.CUDA_ERROR_INVALID_HANDLE);
            refused(cu("cuStreamDestroy_v2", each), CUresult.CUDA_ERROR_INVALID_HANDLE);
        }
        refused(cu("cuEventRecord", event, NONE), CUresult.CUDA_ERROR_INVALID_HANDLE);
        refused(cu("cuModuleUnload", UNKNOWN), CUresult.CUDA_ERROR_INVALID_HANDLE);
        refused(cu("cuGraphDestroy", UNKNOWN), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(cu("cuMemFree_v2", UNKNOWN), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(cu("cuMemFreeHost", UNKNOWN), CUresult.CUDA_ERROR_INVALID_VALUE);
    }

    @Test
    void a_copy_takes_pageable_bytes_at_the_call_and_page_locked_ones_when_it_is_made() {
        long memory = made("cuMemAlloc_v2", 4L);
        MemorySegment pageable = bytes(1, 2);
        MemorySegment locked = MemorySegment.ofAddress(made("cuMemHostAlloc", 2L, 0)).reinterpret(2);
        set(locked, 3, 4);
        must("cuMemcpyHtoDAsync_v2", memory, pageable, 2L, NONE);
        must("cuMemcpyHtoDAsync_v2", memory + 2, locked, 2L, NONE);
        assertThat(MadeGpu.pending(0)).isEqualTo(2);
        set(pageable, 11, 12);
        set(locked, 13, 14);
        assertThat(read(memory, 4)).containsExactly(1, 2, 13, 14);
        must("cuMemFree_v2", memory);
        must("cuMemFreeHost", locked);
    }

    @Test
    void copies_beyond_an_allocation_or_to_no_memory_of_the_device_are_refused() {
        long memory = made("cuMemAlloc_v2", 4L);
        MemorySegment host = arena.allocate(8);
        refused(cu("cuMemcpyHtoDAsync_v2", memory + 1, host, 4L, NONE), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(cu("cuMemcpyHtoDAsync_v2", host.address(), host, 4L, NONE), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(cu("cuMemcpyDtoHAsync_v2", host, host.address(), 4L, NONE), CUresult.CUDA_ERROR_INVALID_VALUE);
        must("cuMemFree_v2", memory);
        refused(cu("cuMemcpyHtoDAsync_v2", memory, host, 4L, NONE), CUresult.CUDA_ERROR_INVALID_VALUE);
    }

    @Test
    void a_stream_goes_on_when_it_is_waited_for_and_not_before() {
        long memory = made("cuMemAlloc_v2", 4L);
        long first = made("cuStreamCreate", NON_BLOCKING);
        long second = made("cuStreamCreate", NON_BLOCKING);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(1), 1L, first);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(2), 1L, second);
        must("cuStreamSynchronize", second);
        must("cuStreamSynchronize", first);
        assertThat(read(memory, 1)).as("the first was waited for last").containsExactly(1);
        long event = made("cuEventCreate", 2);
        must("cuEventSynchronize", event);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(3), 1L, first);
        must("cuEventRecord", event, first);
        must("cuStreamWaitEvent", second, event, 0);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(4), 1L, second);
        refused(cu("cuEventQuery", event), CUresult.CUDA_ERROR_NOT_READY);
        must("cuStreamSynchronize", second);
        must("cuEventQuery", event);
        must("cuStreamSynchronize", first);
        assertThat(read(memory, 1)).as("the second waited for the first").containsExactly(4);
        must("cuStreamDestroy_v2", first);
        must("cuStreamDestroy_v2", second);
        must("cuEventDestroy_v2", event);
        must("cuMemFree_v2", memory);
    }

    @Test
    void whoever_asks_again_and_again_sees_a_stream_come_to_its_end() {
        long memory = made("cuMemAlloc_v2", 4L);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(1), 1L, NONE);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(2), 1L, NONE);
        refused(cu("cuStreamQuery", NONE), CUresult.CUDA_ERROR_NOT_READY);
        refused(cu("cuStreamQuery", NONE), CUresult.CUDA_ERROR_NOT_READY);
        must("cuStreamQuery", NONE);
        for (int i = 0; i < 600; i++) {
            must("cuMemcpyHtoDAsync_v2", memory, bytes(i), 1L, NONE);
        }
        assertThat(MadeGpu.pending(0)).as("a queue has a bound").isPositive().isLessThan(600);
        assertThat(read(memory, 1)).containsExactly((byte) 599);
        must("cuMemFree_v2", memory);
    }

    @Test
    void the_default_stream_and_blocking_ones_wait_for_each_other() {
        long memory = made("cuMemAlloc_v2", 4L);
        long blocking = made("cuStreamCreate", 0);
        long other = made("cuStreamCreate", NON_BLOCKING);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(1), 1L, blocking);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(2), 1L, NONE);
        must("cuMemcpyHtoDAsync_v2", memory, bytes(3), 1L, blocking);
        must("cuMemcpyHtoDAsync_v2", memory + 1, bytes(4), 1L, other);
        must("cuStreamSynchronize", blocking);
        assertThat(MadeGpu.pending(0)).as("what does not block").isOne();
        assertThat(read(memory, 1)).containsExactly(3);
        must("cuCtxSynchronize");
        assertThat(MadeGpu.pending(0)).isZero();
        must("cuStreamDestroy_v2", blocking);
        must("cuStreamDestroy_v2", other);
        must("cuMemFree_v2", memory);
    }

    @Test
    void memory_that_is_given_back_too_early_is_missed_and_the_context_lost() {
        MadeGpu.enter(1);
        long memory = made("cuMemAlloc_v2", 4L);
        long locked = made("cuMemHostAlloc", 4L, 0);
        must("cuMemcpyHtoDAsync_v2", memory, locked, 4L, NONE);
        must("cuMemFreeHost", locked);
        refused(cu("cuStreamSynchronize", NONE), CUresult.CUDA_ERROR_ILLEGAL_ADDRESS);
        assertThat(MadeGpu.complaint()).isEqualTo("a copy came to page-locked memory that had been given back");
        refused(cu("cuMemFree_v2", memory), CUresult.CUDA_ERROR_ILLEGAL_ADDRESS);
        must("cuDevicePrimaryCtxRelease_v2", 1);
        MadeGpu.enter(1);
        long again = made("cuMemAlloc_v2", 4L);
        must("cuMemFree_v2", again);
        must("cuDevicePrimaryCtxRelease_v2", 1);
        MadeGpu.enter(0);
        must("cuDevicePrimaryCtxRelease_v2", 0);
    }

    // ---- modules ----

    private MemorySegment text(String image) {
        return arena.allocateFrom(image);
    }

    private int load(String image) {
        return cu("cuModuleLoadData", arena.allocate(JAVA_LONG), text(image));
    }

    private static final String PTX = """
            .version %s
            .target %s
            .address_size 64

            .visible .entry add_f32_f32(
            \t.param .u64 a
            )
            {
            }
            """;

    @Test
    void images_that_are_not_what_they_should_be_are_refused() {
        refused(load("\u007fELF and no more of it"), CUresult.CUDA_ERROR_INVALID_IMAGE);
        refused(load("\u0001\u0002"), CUresult.CUDA_ERROR_INVALID_IMAGE);
        refused(load("// no code"), CUresult.CUDA_ERROR_INVALID_PTX);
        refused(load(PTX.formatted("9.1", "sm_80")), CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        refused(load(PTX.formatted("9.0", "sm_100")), CUresult.CUDA_ERROR_INVALID_PTX);
        MadeGpu.machine(12040, 2, 9, 0, false);
        refused(load(PTX.formatted("9.0", "sm_80")), CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        refused(load(PTX.formatted("8.5", "sm_80")), CUresult.CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        long module = made("cuModuleLoadData", text(PTX.formatted("8.4", "sm_80")));
        refused(cu("cuModuleGetFunction", arena.allocate(JAVA_LONG), module, text("no_kernel")), CUresult.CUDA_ERROR_NOT_FOUND);
        refused(cu("cuModuleGetFunction", arena.allocate(JAVA_LONG), module, text("add_f32_f32")), CUresult.CUDA_ERROR_INVALID_SOURCE);
        assertThat(MadeGpu.complaint()).isEqualTo("add_f32_f32 has other arguments in the image than in its source");
        must("cuModuleUnload", module);
    }

    @Test
    void geometry_and_shared_memory_have_their_bounds() {
        CudaImages images = CudaImages.read();
        MemorySegment image = arena.allocateFrom(JAVA_BYTE, images.image("block_gradient", 99, 0));
        long module = made("cuModuleLoadData", image);
        long function = made("cuModuleGetFunction", module, text("block_gradient_64"));
        MemorySegment slots = arena.allocate(JAVA_LONG, 32);
        for (int i = 0; i < 16; i++) {
            slots.setAtIndex(JAVA_LONG, i, slots.address() + 128);
        }
        refused(launch(function, 0, 32, 0, slots), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(launch(function, 1, 0, 0, slots), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(launch(function, 1, 1025, 0, slots), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(launch(function, 1, 1024, 0, slots), CUresult.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
        refused(launch(function, 1, 32, (48 << 10) + 1, slots), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(launch(function, 1, 32, 0, MemorySegment.NULL), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(launch(UNKNOWN, 1, 32, 0, slots), CUresult.CUDA_ERROR_INVALID_HANDLE);
        refused(cu("cuFuncSetAttribute", function, 8, (227 << 10) + 1), CUresult.CUDA_ERROR_INVALID_VALUE);
        must("cuFuncSetAttribute", function, 8, 227 << 10);
        MadeGpu.machine(13000, 2, 8, 6, false);
        refused(cu("cuFuncSetAttribute", function, 8, 100 << 10), CUresult.CUDA_ERROR_INVALID_VALUE);
        assertThat(MadeGpu.pending(0)).isZero();
        must("cuModuleUnload", module);
    }

    private static int launch(long function, int blocks, int threads, int shared, MemorySegment parameters) {
        return cu("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, shared, NONE, parameters, MemorySegment.NULL);
    }
}
