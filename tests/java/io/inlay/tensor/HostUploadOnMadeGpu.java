package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.kernels.MadeGpu;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Uploads by page-locked memory, a stream and events of a driver that checks them, to tensors whose memory is the host's. */
public class HostUploadOnMadeGpu {

    private static final int PIECE = 16 << 20;

    private final Arena arena = Arena.ofShared();
    private MadeGpu.Held before;
    private Libtorch torch;

    @BeforeEach
    void load() {
        MadeGpu.usualWithHostMemory();
        before = MadeGpu.held();
        torch = Libtorch.load().withHostAsCuda(cuda(), _ -> OptionalLong.empty());
    }

    @AfterEach
    void nothing_is_left_but_the_drivers_context() {
        MadeGpu.Held held = MadeGpu.held();
        assertThat(held).isEqualTo(new MadeGpu.Held(held.contexts(), before.modules(), before.streams(), before.events(),
                before.allocated(), before.pageLocked(), before.graphs(), before.executableGraphs(), before.lost()));
        // The server's driver retains it as long as it runs.
        for (long i = before.contexts(); i < held.contexts(); i++) {
            MadeGpu.must("cuDevicePrimaryCtxRelease_v2", 0);
        }
        arena.close();
    }

    private Cuda cuda() {
        SymbolLookup symbols = SymbolLookup.libraryLookup(MadeGpu.FILE, Arena.global());
        return Cuda.of(new LibtorchLibrary(symbols, "a test's", Optional.empty()), CudaDriver.FILE);
    }

    private MemorySegment random(long seed, int bytes) {
        byte[] values = new byte[bytes];
        new Random(seed).nextBytes(values);
        return arena.allocateFrom(JAVA_BYTE, values);
    }

    private static MemorySegment memory(Tensor tensor) {
        return MemorySegment.ofAddress(tensor.address()).reinterpret(tensor.bytes());
    }

    @Test
    void a_gpu_is_described_and_its_memory_told() {
        assertThat(torch.devices().missing(Device.cuda(1))).isEmpty();
        Devices devices = new Devices(cuda(), new LinuxMemory(), false);
        assertThat(devices.describe(Device.cuda(1))).isEqualTo("cuda:1, Inlay CPU as GPU 1, with 4 GiB of which 4 are free");
        assertThat(devices.on(Device.cuda(0))).hasValue(4L << 30);
        assertThat(devices.missing(Device.cuda(2))).hasValueSatisfying(words -> assertThat(words).startsWith("cuda:2 cannot be used: "
                + "there are 2 devices, the last of which is cuda:1"));
        MadeGpu.must("cuDevicePrimaryCtxRelease_v2", 1);
    }

    @Test
    void transfers_larger_than_a_piece_and_smaller_ones_arrive_whole_in_one_call_and_in_the_next() {
        try (Scope scope = new Scope(torch); HostUpload upload = new HostUpload(torch, Device.cuda(0))) {
            for (int call = 0; call < 2; call++) {
                List<HostUpload.Transfer> transfers = new ArrayList<>();
                for (int bytes : new int[] {2 * PIECE + 5, 7, PIECE, 3 * PIECE - 1, 1}) {
                    transfers.add(new HostUpload.Transfer(random(bytes + call, bytes), scope.empty(DType.UINT8, Device.cuda(0), bytes)));
                }
                upload.copy(transfers);
                for (HostUpload.Transfer each : transfers) {
                    assertThat(memory(each.to()).mismatch(each.from())).as("%s", each.to()).isEqualTo(-1);
                }
            }
            assertThat(MadeGpu.held().pageLocked()).isEqualTo(2);
        }
    }

    @Test
    void what_the_device_had_to_compute_reads_its_memory_before_an_upload_fills_it() {
        MadeGpu.enter(0);
        long computes = MadeGpu.made("cuStreamCreate", 0);
        try (Scope scope = new Scope(torch); HostUpload upload = new HostUpload(torch, Device.cuda(0))) {
            for (long stream : new long[] {0, computes}) {
                Tensor earlier = scope.empty(DType.UINT8, Device.cuda(0), 1000);
                Tensor result = scope.empty(DType.UINT8, Device.cuda(0), 1000);
                memory(earlier).fill((byte) 1);
                MadeGpu.computeOn(stream);
                MadeGpu.must("cuMemcpyDtoDAsync_v2", result.address(), earlier.address(), 1000L, stream);
                upload.copy(random(1, 1000), earlier);
                assertThat(memory(earlier).mismatch(random(1, 1000))).isEqualTo(-1);
                MadeGpu.must("cuStreamSynchronize", stream);
                assertThat(memory(result).toArray(JAVA_BYTE)).as("stream %d", stream).containsOnly(1);
            }
        } finally {
            MadeGpu.computeOn(0);
            MadeGpu.must("cuStreamDestroy_v2", computes);
            MadeGpu.must("cuDevicePrimaryCtxRelease_v2", 0);
        }
    }

    @Test
    void an_upload_does_not_wait_for_what_the_device_is_given_to_compute_meanwhile() {
        try (Scope scope = new Scope(torch); HostUpload upload = new HostUpload(torch, Device.cuda(0))) {
            Tensor busy = scope.empty(DType.UINT8, Device.cuda(0), 2);
            List<HostUpload.Transfer> transfers = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                transfers.add(new HostUpload.Transfer(random(i, 10), scope.empty(DType.UINT8, Device.cuda(0), 10)));
            }
            upload.copy(transfers);
            upload.copy(new AbstractList<>() {
                @Override
                public HostUpload.Transfer get(int i) {
                    MadeGpu.must("cuMemcpyDtoDAsync_v2", busy.address(), busy.address() + 1, 1L, 0L);
                    return transfers.get(i);
                }

                @Override
                public int size() {
                    return transfers.size();
                }
            });
            assertThat(MadeGpu.pending(0)).as("what was given once copies had begun").isBetween(2L, 3L);
            MadeGpu.must("cuStreamSynchronize", 0L);
        }
    }

    @Test
    void a_driver_that_refuses_says_so_in_its_own_words() {
        MadeGpu.machine(13000, 2, 9, 0, false);
        try (Scope scope = new Scope(torch); HostUpload upload = new HostUpload(torch, Device.cuda(0))) {
            Tensor tensor = scope.empty(DType.UINT8, Device.cuda(0), 10);
            assertThatThrownBy(() -> upload.copy(random(1, 10), tensor)).isInstanceOf(IllegalStateException.class)
                    .hasMessage("the NVIDIA driver refused cuMemcpyHtoDAsync_v2: invalid argument (error 1)");
        }
    }

    @Test
    void where_the_host_has_too_little_to_page_lock_nothing_is_kept_and_the_next_upload_begins_anew() {
        MadeGpu.lockable(PIECE);
        try (Scope scope = new Scope(torch); HostUpload upload = new HostUpload(torch, Device.cuda(0))) {
            Tensor tensor = scope.empty(DType.UINT8, Device.cuda(0), 10);
            assertThatThrownBy(() -> upload.copy(random(1, 10), tensor)).isInstanceOf(IllegalStateException.class)
                    .hasMessage("the NVIDIA driver refused cuMemHostAlloc: out of memory (error 2)");
            MadeGpu.Held held = MadeGpu.held();
            assertThat(held.streams() + held.events() + held.pageLocked()).isZero();
            MadeGpu.lockable(4L * PIECE);
            upload.copy(random(1, 10), tensor);
            assertThat(memory(tensor).mismatch(random(1, 10))).isEqualTo(-1);
        } finally {
            MadeGpu.lockable(1L << 30);
        }
    }
}
