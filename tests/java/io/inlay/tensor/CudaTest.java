package io.inlay.tensor;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is said where CUDA is not whole, and what is done where it is, with a driver that tests/resources/cuda makes. */
class CudaTest {

    @TempDir
    private Path folder;

    @BeforeAll
    static void compiler() {
        MadeDriver.assumeCompiler();
    }

    private Path library(String name, Path source) throws IOException, InterruptedException {
        return MadeDriver.library(folder.resolve(name), source);
    }

    private Path driver(String name, int version, int runtime, int devices, String... more) throws IOException, InterruptedException {
        return MadeDriver.of(folder.resolve(name), version, runtime, devices, more);
    }

    private static Cuda cuda(Path driver) {
        return MadeDriver.cuda(driver);
    }

    private static void refused(Cuda cuda, Device device, String words) {
        assertThatThrownBy(() -> Cuda.require(cuda, device)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE)).hasMessageContaining(words);
    }

    @Test
    void a_libtorch_for_the_cpu_says_where_another_is_found() {
        refused(Cuda.of(new LibtorchLibrary(_ -> Optional.empty(), "x", Optional.of("it is for the CPU")), "none"), Device.cuda(0),
                "cuda:0 cannot be used: it is for the CPU");
    }

    @Test
    void no_driver_and_one_that_does_not_start_are_told_by_the_systems_and_by_its_own_words() throws Exception {
        LibtorchLibrary library = new LibtorchLibrary(_ -> Optional.empty(), "x", Optional.empty());
        refused(Cuda.of(library, "libno-such-driver.so.1"), Device.cuda(1), "cuda:1 cannot be used: no NVIDIA driver is installed: "
                + "libno-such-driver.so.1: cannot open shared object file: No such file or directory; install one, and give a container");
        refused(cuda(driver("unstarted.so", 12040, 12040, 1, "-DSTART=100")), Device.cuda(0),
                "the NVIDIA driver does not start: no CUDA-capable device is detected (error 100)");
    }

    @Test
    void a_driver_older_than_libtorchs_cuda_is_named_with_both_versions() throws Exception {
        refused(cuda(driver("old.so", 12040, 13000, 1)), Device.cuda(0), "this libtorch is made for CUDA 13.0, the NVIDIA driver for CUDA "
                + "12.4 at most; update the driver, or install a torch for CUDA 12");
        assertThat(Cuda.tooOld(12080, 12000)).as("minor versions are compatible").isEmpty();
        assertThat(Cuda.tooOld(12080, 13000)).isEmpty();
    }

    @Test
    void no_device_and_an_index_beyond_the_last_are_refused() throws Exception {
        refused(cuda(driver("none.so", 12040, 12040, 0)), Device.cuda(0), "the NVIDIA driver finds no device; look at nvidia-smi");
        refused(cuda(driver("one.so", 12040, 12040, 1)), Device.cuda(1),
                "cuda:1 cannot be used: there is 1 device, the last of which is cuda:0, Test GPU A");
        refused(cuda(driver("two.so", 12040, 12040, 2)), Device.cuda(2),
                "cuda:2 cannot be used: there are 2 devices, the last of which is cuda:1, Test GPU B");
    }

    @Test
    void a_symbol_that_libtorch_lacks_is_named() throws Exception {
        refused(cuda(driver("early.so", 12040, 12040, 1, "-DWITHOUT_ADDMM")), Device.cuda(0),
                "this libtorch's CUDA part has no symbol aoti_torch_cuda_addmm_out; Inlay needs torch 2.7 or newer");
    }

    @Test
    void a_device_that_is_whole_is_described_and_its_memory_told_with_who_holds_it() throws Exception {
        Devices devices = new Devices(cuda(driver("whole.so", 12040, 12040, 2)), new LinuxMemory(), false);
        assertThat(devices.missing(Device.cuda(1))).isEmpty();
        assertThat(devices.describe(Device.cuda(1))).startsWith("cuda:1, Test GPU B, with ");
        assertThat(devices.currentStream(Device.cuda(0))).isEqualTo(7);
        assertThat(devices.on(Device.cuda(0))).hasValue(3_000_000);
        devices.holdings().add(Device.cuda(0), "weights of tiny", 4_000_000);
        devices.holdings().add(Device.cuda(0), "activations", 12);
        assertThat(devices.refused(DType.BF16, new long[] {1024, 4096}, Device.cuda(0))).hasMessageStartingWith("cuda:0 is out of memory: "
                + "bf16[1024, 4096] asks for 8,388,608 bytes, and 3,000,000 of its 8,000,000 are free; Inlay holds 4,000,000 for weights "
                + "of tiny, 12 for activations there");
        Devices.Promise promise = devices.promise(Device.cuda(0), Set.of("deltas"), 2_000_000).orElseThrow();
        assertThat(devices.on(Device.cuda(0))).hasValue(1_000_000);
        assertThat(devices.promise(Device.cuda(0), Set.of("other"), 1_000_001)).isEmpty();
        devices.holdings().add(Device.cuda(0), "deltas", 1_500_000);
        assertThat(devices.on(Device.cuda(0))).as("what is taken is no longer promised").hasValue(2_500_000);
        promise.close();
        assertThat(devices.on(Device.cuda(0))).hasValue(3_000_000);
        devices.holdings().add(Device.cuda(0), "deltas", -1_500_000);
        assertThat(devices.on(Device.cuda(0))).as("what libtorch keeps for the next tensors is free to them").hasValue(4_500_000);
        assertThat(devices.held(Device.cuda(0))).isEqualTo(Map.of("weights of tiny", 4_000_000L, "activations", 12L));
    }

    /** The device's memory is the host's here, copies are the made driver's: later than asked for, in the order of its one stream. */
    @Test
    void an_upload_through_two_pinned_buffers_arrives_whole_after_what_was_under_way() throws Exception {
        MadeDriver driver = MadeDriver.of(folder.resolve("upload.so"));
        byte[] values = new byte[(3 * 16 << 20) + 5];
        new Random(1).nextBytes(values);
        try (Scope scope = new Scope(driver.torch()); HostUpload upload = new HostUpload(scope.torch(), Device.cuda(0));
                Arena arena = Arena.ofConfined()) {
            Tensor first = scope.empty(DType.UINT8, Device.cuda(0), values.length);
            Tensor second = scope.empty(DType.UINT8, Device.cuda(0), 7);
            upload.copy(arena.allocateFrom(JAVA_BYTE, values), first);
            assertThat(driver.copiesUnderWay()).isZero();
            upload.copy(MemorySegment.ofArray(new byte[] {1, 2, 3, 4, 5, 6, 7}), second);
            assertThat(driver.copiesUnderWay()).isZero();
            assertThat(driver.waitsForComputing()).as("one for each call").isEqualTo(2);
            assertThat(driver.hindrancesOfComputing()).isZero();
            assertThat(scope.onHost(first).segment().toArray(JAVA_BYTE)).isEqualTo(values);
            assertThat(scope.onHost(second).segment().toArray(JAVA_BYTE)).containsExactly(1, 2, 3, 4, 5, 6, 7);
            assertThatThrownBy(() -> upload.copy(MemorySegment.ofArray(new byte[8]), second)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("8 bytes do not fill uint8[7] cuda:0");
            assertThatThrownBy(() -> upload.copy(MemorySegment.ofArray(new byte[7]), scope.empty(DType.UINT8, Device.CPU, 7)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessage("uint8[7] cpu is not on cuda:0");
        }
    }

    @Test
    void tensors_that_come_together_wait_once_for_what_the_device_computes() throws Exception {
        MadeDriver driver = MadeDriver.of(folder.resolve("together.so"));
        try (Scope scope = new Scope(driver.torch()); HostUpload upload = new HostUpload(scope.torch(), Device.cuda(0))) {
            List<HostUpload.Transfer> transfers = new ArrayList<>();
            for (int i = 1; i <= 5; i++) {
                byte[] values = new byte[i * 1000];
                Arrays.fill(values, (byte) i);
                transfers.add(new HostUpload.Transfer(MemorySegment.ofArray(values), scope.empty(DType.UINT8, Device.cuda(0), i * 1000)));
            }
            upload.copy(transfers);
            assertThat(driver.waitsForComputing()).isOne();
            assertThat(driver.copiesUnderWay()).isZero();
            for (HostUpload.Transfer each : transfers) {
                assertThat(scope.onHost(each.to()).segment().toArray(JAVA_BYTE)).isEqualTo(each.from().toArray(JAVA_BYTE));
            }
        }
    }

    @Test
    void an_upload_that_fails_ends_once_nothing_of_it_is_under_way() throws Exception {
        MadeDriver driver = MadeDriver.of(folder.resolve("refusing.so"), "-DREFUSED=2");
        try (Scope scope = new Scope(driver.torch()); HostUpload upload = new HostUpload(scope.torch(), Device.cuda(0))) {
            Tensor tensor = scope.empty(DType.UINT8, Device.cuda(0), 3 * 16 << 20);
            assertThatThrownBy(() -> upload.copy(MemorySegment.ofArray(new byte[3 * 16 << 20]), tensor))
                    .isInstanceOf(IllegalStateException.class).hasMessage("the NVIDIA driver refused cuMemcpyHtoDAsync_v2: error 1");
            assertThat(driver.copiesUnderWay()).isZero();
        }
    }

    // ---- the folder ----

    @Test
    void a_folder_that_is_no_libtorch_or_is_broken_is_refused_with_what_to_do() throws Exception {
        assertThatThrownBy(() -> LibtorchLibrary.ofFolder(folder)).isInstanceOf(Problem.class)
                .hasMessage("PYTORCH_LIBRARY_PATH is " + folder + ", which has no libtorch_cpu.so; point it at the lib folder of a torch "
                        + "installation, or unset it to use the CPU build that Inlay brings");
        Files.writeString(folder.resolve("libtorch_cpu.so"), "no library");
        assertThatThrownBy(() -> LibtorchLibrary.ofFolder(folder)).isInstanceOf(Problem.class)
                .hasMessageStartingWith("libtorch in " + folder + " cannot be loaded: " + folder.resolve("libc10.so") + ": cannot open "
                        + "shared object file").hasMessageContaining("install torch there anew");
    }

    @Test
    void a_folder_without_cuda_or_with_a_broken_one_computes_on_the_cpu_and_says_why_not_more() throws Exception {
        Path source = Files.writeString(folder.resolve("part.c"), "int part(void) { return 0; }");
        library("libc10.so", source);
        library("libtorch_cpu.so", source);
        assertThat(LibtorchLibrary.ofFolder(folder).withoutCuda()).hasValueSatisfying(why -> assertThat(why).startsWith(folder
                + " has no libtorch_cuda.so, so it is a build for the CPU alone; point PYTORCH_LIBRARY_PATH at"));
        library("libc10_cuda.so", source);
        Files.writeString(folder.resolve("libtorch_cuda.so"), "no library");
        assertThat(LibtorchLibrary.ofFolder(folder).withoutCuda()).hasValueSatisfying(why -> assertThat(why).startsWith("the CUDA part of "
                + "libtorch in " + folder + " cannot be loaded: " + folder.resolve("libtorch_cuda.so") + ": file too short"));
        library("libtorch_cuda.so", source);
        LibtorchLibrary whole = LibtorchLibrary.ofFolder(folder);
        assertThat(whole.withoutCuda()).isEmpty();
        assertThat(whole.description()).isEqualTo("libtorch in " + folder + " for CUDA");
        assertThat(whole.symbols().find("part")).isPresent();
        assertThat(whole.symbols().find("no_part")).isEmpty();
    }
}
