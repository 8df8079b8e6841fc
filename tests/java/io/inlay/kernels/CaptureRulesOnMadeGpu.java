package io.inlay.kernels;

import static io.inlay.kernels.DriverRulesOnMadeGpu.refused;
import static io.inlay.kernels.MadeGpu.cu;
import static io.inlay.kernels.MadeGpu.made;
import static io.inlay.kernels.MadeGpu.must;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUresult;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** That the stand-in for the driver records what a capturing stream is given, and refuses what would disturb a capture. */
class CaptureRulesOnMadeGpu {

    private static final long DEFAULT = 0;
    private static final int GLOBAL = 0;
    private static final int THREAD_LOCAL = 1;
    private static final int RELAXED = 2;
    private static final long BYTES = 4;

    private final Arena arena = Arena.ofShared();
    private long memory;
    private long locked;
    private long stream;

    @BeforeEach
    void enter() {
        MadeGpu.usual();
        MadeGpu.enter(0);
        memory = made("cuMemAlloc_v2", BYTES);
        locked = made("cuMemHostAlloc", BYTES, 0);
        stream = made("cuStreamCreate", 1);
    }

    @AfterEach
    void leave() {
        must("cuStreamDestroy_v2", stream);
        must("cuMemFreeHost", locked);
        must("cuMemFree_v2", memory);
        must("cuDevicePrimaryCtxRelease_v2", 0);
        assertThat(MadeGpu.held()).isEqualTo(MadeGpu.Held.NOTHING);
        arena.close();
    }

    private void begin(int mode) {
        must("cuStreamBeginCapture_v2", stream, mode);
    }

    private int copy(long on) {
        return cu("cuMemcpyHtoDAsync_v2", memory, locked, BYTES, on);
    }

    private void put(int value) {
        MemorySegment.ofAddress(locked).reinterpret(BYTES).set(JAVA_INT, 0, value);
    }

    private int there() {
        try (Arena own = Arena.ofConfined()) {
            MemorySegment to = own.allocate(BYTES);
            must("cuMemcpyDtoH_v2", to, memory, BYTES);
            return to.get(JAVA_INT, 0);
        }
    }

    /** Ends the capture, which must have been invalidated. */
    private void endInvalid() {
        MemorySegment graph = arena.allocate(JAVA_LONG);
        graph.set(JAVA_LONG, 0, 1);
        refused(cu("cuStreamEndCapture", stream, graph), CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        assertThat(graph.get(JAVA_LONG, 0)).isZero();
    }

    private long end() {
        MemorySegment graph = arena.allocate(JAVA_LONG);
        must("cuStreamEndCapture", stream, graph);
        return graph.get(JAVA_LONG, 0);
    }

    @Test
    void what_is_captured_happens_when_the_graph_is_launched_as_often_as_that_is() {
        put(1);
        must("cuMemcpyHtoDAsync_v2", memory, locked, BYTES, DEFAULT);
        assertThat(there()).isOne();
        begin(GLOBAL);
        put(2);
        must("cuMemcpyHtoDAsync_v2", memory, locked, BYTES, stream);
        long graph = end();
        MemorySegment count = arena.allocate(JAVA_LONG);
        must("cuGraphGetNodes", graph, MemorySegment.NULL, count);
        assertThat(count.get(JAVA_LONG, 0)).isOne();
        long ready = made("cuGraphInstantiateWithFlags", graph, 0L);
        must("cuGraphDestroy", graph);
        must("cuCtxSynchronize");
        assertThat(there()).as("nothing was launched").isOne();
        for (int value = 3; value < 5; value++) {
            must("cuGraphLaunch", ready, stream);
            put(value);
            must("cuStreamSynchronize", stream);
            assertThat(there()).isEqualTo(value);
        }
        must("cuGraphExecDestroy", ready);
        refused(cu("cuGraphLaunch", ready, stream), CUresult.CUDA_ERROR_INVALID_VALUE);
    }

    @Test
    void the_default_stream_is_not_captured_and_no_stream_twice() {
        refused(cu("cuStreamBeginCapture_v2", DEFAULT, RELAXED), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        refused(cu("cuStreamBeginCapture_v2", stream, 3), CUresult.CUDA_ERROR_INVALID_VALUE);
        refused(cu("cuStreamEndCapture", stream, arena.allocate(JAVA_LONG)), CUresult.CUDA_ERROR_ILLEGAL_STATE);
        begin(RELAXED);
        refused(cu("cuStreamBeginCapture_v2", stream, RELAXED), CUresult.CUDA_ERROR_ILLEGAL_STATE);
        must("cuGraphDestroy", end());
    }

    @Test
    void waiting_asking_and_pageable_copies_end_a_capture() {
        begin(RELAXED);
        refused(cu("cuStreamSynchronize", stream), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        refused(copy(stream), CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        endInvalid();
        begin(RELAXED);
        refused(cu("cuStreamQuery", stream), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        begin(RELAXED);
        MemorySegment pageable = arena.allocate(BYTES);
        refused(cu("cuMemcpyHtoDAsync_v2", memory, pageable, BYTES, stream), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        begin(RELAXED);
        refused(cu("cuCtxSynchronize"), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        must("cuStreamSynchronize", stream);
    }

    @Test
    void what_is_allocated_beside_a_capture_ends_it_unless_it_is_relaxed_or_another_threads() throws Exception {
        begin(GLOBAL);
        refused(cu("cuMemAlloc_v2", arena.allocate(JAVA_LONG), BYTES), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        begin(GLOBAL);
        refused(elsewhere(), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        begin(THREAD_LOCAL);
        refused(elsewhere(), CUresult.CUDA_SUCCESS);
        refused(cu("cuMemHostAlloc", arena.allocate(JAVA_LONG), BYTES, 0), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        endInvalid();
        begin(RELAXED);
        must("cuMemFree_v2", made("cuMemAlloc_v2", BYTES));
        must("cuGraphDestroy", end());
    }

    /** The result of an allocation on another thread. */
    private int elsewhere() throws InterruptedException {
        int[] result = new int[1];
        Thread thread = Thread.ofPlatform().start(() -> {
            MadeGpu.enter(0);
            MemorySegment cell = arena.allocate(JAVA_LONG);
            result[0] = cu("cuMemAlloc_v2", cell, BYTES);
            if (result[0] == 0) {
                must("cuMemFree_v2", cell.get(JAVA_LONG, 0));
            }
            must("cuDevicePrimaryCtxRelease_v2", 0);
        });
        thread.join();
        return result[0];
    }

    @Test
    void another_stream_joins_by_an_event_and_must_be_waited_for() {
        long second = made("cuStreamCreate", 1);
        long event = made("cuEventCreate", 2);
        begin(RELAXED);
        must("cuEventRecord", event, stream);
        must("cuStreamWaitEvent", second, event, 0);
        refused(copy(second), CUresult.CUDA_SUCCESS);
        refused(cu("cuStreamEndCapture", stream, arena.allocate(JAVA_LONG)), CUresult.CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        begin(RELAXED);
        must("cuEventRecord", event, stream);
        must("cuStreamWaitEvent", second, event, 0);
        refused(copy(second), CUresult.CUDA_SUCCESS);
        must("cuEventRecord", event, second);
        must("cuStreamWaitEvent", stream, event, 0);
        must("cuGraphDestroy", end());
        must("cuStreamDestroy_v2", second);
        must("cuEventDestroy_v2", event);
    }

    @Test
    void events_do_not_lead_into_a_capture_or_out_of_it() {
        long event = made("cuEventCreate", 2);
        must("cuEventRecord", event, DEFAULT);
        begin(RELAXED);
        refused(cu("cuStreamWaitEvent", stream, event, 0), CUresult.CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        endInvalid();
        begin(RELAXED);
        must("cuEventRecord", event, stream);
        refused(cu("cuEventSynchronize", event), CUresult.CUDA_ERROR_CAPTURED_EVENT);
        endInvalid();
        must("cuEventDestroy_v2", event);
    }

    @Test
    void a_blocking_stream_under_capture_keeps_the_default_stream_from_all() {
        long blocking = made("cuStreamCreate", 0);
        must("cuStreamBeginCapture_v2", blocking, RELAXED);
        refused(copy(DEFAULT), CUresult.CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        refused(cu("cuStreamEndCapture", blocking, arena.allocate(JAVA_LONG)), CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        begin(GLOBAL);
        refused(copy(DEFAULT), CUresult.CUDA_SUCCESS);
        must("cuGraphDestroy", end());
        must("cuStreamDestroy_v2", blocking);
        must("cuCtxSynchronize");
    }
}
