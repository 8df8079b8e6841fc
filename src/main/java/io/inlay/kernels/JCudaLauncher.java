package io.inlay.kernels;

import io.inlay.Problem;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUfunction;
import jcuda.driver.CUfunction_attribute;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUresult;
import jcuda.driver.CUstream;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;

/**
 * CUDA kernels on a GPU, by the driver API alone: in the device's primary context, which is libtorch's too, on libtorch's current stream,
 * with memory of libtorch's allocator, so that kernels, operations and what is freed keep one order.
 *
 * <p>A call that the driver refuses throws {@link IllegalStateException} with its words; after a fault in a kernel every call does.
 */
public final class JCudaLauncher implements CudaLauncher {

    /** Compute capability from which the kernels run: bf16 tensor cores, asynchronous copies. */
    private static final int LEAST_MAJOR = 8;

    /** Dynamic shared memory that a launch has without asking. */
    private static final int PLAIN_SHARED = 48 << 10;

    private static final int NAME_BYTES = 256;
    private static final MethodHandle STREAM = streamConstructor();

    private final DeviceMemory memory;
    private final LongSupplier stream;
    private final CudaImages images;
    private final CUdevice handle = new CUdevice();
    private final CUcontext context = new CUcontext();
    private final String name;
    private final int major;
    private final int minor;
    private final int driver;
    private final CUstream capture = new CUstream();
    private boolean capturing;
    private final Map<String, CUmodule> modules = new ConcurrentHashMap<>();
    private final Map<String, CUfunction> functions = new ConcurrentHashMap<>();

    private JCudaLauncher(DeviceMemory memory, int index, LongSupplier stream, CudaImages images) {
        this.memory = memory;
        this.stream = stream;
        this.images = images;
        start(JCudaDriver.cuInit(0));
        int[] number = new int[1];
        check(JCudaDriver.cuDriverGetVersion(number), "cuDriverGetVersion");
        driver = number[0];
        check(JCudaDriver.cuDeviceGetCount(number), "cuDeviceGetCount");
        if (index >= number[0]) {
            throw new Problem(Problem.Code.UNAVAILABLE, "there is no " + Device.cuda(index) + ": the NVIDIA driver finds " + number[0]
                    + " GPUs, counted from 0");
        }
        check(JCudaDriver.cuDeviceGet(handle, index), "cuDeviceGet");
        byte[] text = new byte[NAME_BYTES];
        check(JCudaDriver.cuDeviceGetName(text, NAME_BYTES, handle), "cuDeviceGetName");
        name = new String(text, StandardCharsets.UTF_8).split("\0", 2)[0].strip();
        major = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        minor = attribute(CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        if (major < LEAST_MAJOR) {
            throw new Problem(Problem.Code.UNAVAILABLE, name + " has compute capability " + major + "." + minor + "; Inlay's kernels need "
                    + LEAST_MAJOR + ".0 (A100, RTX 30) or newer");
        }
        check(JCudaDriver.cuDevicePrimaryCtxRetain(context, handle), "cuDevicePrimaryCtxRetain");
    }

    /**
     * @param index of the GPU, counted from 0 as libtorch counts
     * @param stream gives the address of libtorch's current stream on that GPU; 0 is CUDA's default one
     * @throws Problem UNAVAILABLE where there is no driver, no such GPU, or one that is too old
     */
    public static JCudaLauncher open(Libtorch torch, int index, LongSupplier stream) {
        return open(new TorchMemory(torch, Device.cuda(index)), index, stream);
    }

    /** With memory of another allocator, which the launcher closes. */
    static JCudaLauncher open(DeviceMemory memory, int index, LongSupplier stream) {
        CudaImages images = CudaImages.read();
        try {
            return new JCudaLauncher(memory, index, stream, images);
        } catch (LinkageError missing) {
            throw new Problem(Problem.Code.UNAVAILABLE, "there is no NVIDIA driver (libcuda.so.1) that Inlay's kernels can use; install "
                    + "one for CUDA " + images.cuda() + " or newer, or run on the CPU", missing);
        }
    }

    private static void start(int result) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new Problem(Problem.Code.UNAVAILABLE, "the NVIDIA driver finds no GPU that it can use: " + CUresult.stringFor(result)
                    + "; nvidia-smi says more");
        }
    }

    private int attribute(int which) {
        int[] value = new int[1];
        check(JCudaDriver.cuDeviceGetAttribute(value, which, handle), "cuDeviceGetAttribute");
        return value[0];
    }

    private static void check(int result, String what) {
        if (result != CUresult.CUDA_SUCCESS) {
            throw new IllegalStateException(what + " failed: " + CUresult.stringFor(result));
        }
    }

    @Override
    public String name() {
        return name;
    }

    // ---- kernels ----

    @Override
    public void launch(CudaLaunch work) {
        enter();
        launch(work, currentStream());
    }

    private void launch(CudaLaunch work, CUstream on) {
        CUfunction function = functions.computeIfAbsent(work.kernel(), this::function);
        if (work.sharedBytes() > PLAIN_SHARED) {
            check(JCudaDriver.cuFuncSetAttribute(function, CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                    work.sharedBytes()), "shared memory for " + work.kernel());
        }
        try (Arena arena = Arena.ofConfined()) {
            check(JCudaDriver.cuLaunchKernel(function, work.geometry(0), work.geometry(1), work.geometry(2), work.geometry(3),
                    work.geometry(4), work.geometry(5), work.sharedBytes(), on, new HostPointer(work.parameters(arena)), null),
                    work.kernel());
        }
    }

    /** By capture on a stream of its own, since CUDA's default stream cannot be captured; other threads go on meanwhile. */
    @Override
    public CudaGraph graph(List<CudaLaunch> launches) {
        enter();
        CUgraph graph = new CUgraph();
        CUgraphExec ready = new CUgraphExec();
        try {
            capture(launches, graph);
            check(JCudaDriver.cuGraphInstantiate(ready, graph, 0), "cuGraphInstantiate");
        } finally {
            // A capture that a launch has left unfinished has its graph too.
            JCudaDriver.cuGraphDestroy(graph);
        }
        return new ReadyGraph(ready);
    }

    private void capture(List<CudaLaunch> launches, CUgraph graph) {
        synchronized (capture) {
            if (!capturing) {
                check(JCudaDriver.cuStreamCreate(capture, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
                capturing = true;
            }
            check(JCudaDriver.cuStreamBeginCapture(capture, CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED), "cuStreamBeginCapture");
            int ended;
            try {
                launches.forEach(each -> launch(each, capture));
            } finally {
                ended = JCudaDriver.cuStreamEndCapture(capture, graph);
            }
            check(ended, "cuStreamEndCapture");
        }
    }

    private final class ReadyGraph implements CudaGraph {
        private final CUgraphExec ready;

        private ReadyGraph(CUgraphExec ready) {
            this.ready = ready;
        }

        @Override
        public void launch() {
            enter();
            check(JCudaDriver.cuGraphLaunch(ready, currentStream()), "cuGraphLaunch");
        }

        @Override
        public void close() {
            JCudaDriver.cuCtxSetCurrent(context);
            JCudaDriver.cuGraphExecDestroy(ready);
        }
    }

    private CUfunction function(String kernel) {
        String file = images.file(kernel);
        CUfunction function = new CUfunction();
        check(JCudaDriver.cuModuleGetFunction(function, modules.computeIfAbsent(file, this::module), kernel), kernel + " of " + file);
        return function;
    }

    private CUmodule module(String file) {
        CUmodule module = new CUmodule();
        int result = JCudaDriver.cuModuleLoadData(module, images.image(file, major, minor));
        if (result != CUresult.CUDA_SUCCESS) {
            throw new Problem(Problem.Code.UNAVAILABLE, refusal(file, name, result, driver, images.cuda()));
        }
        return module;
    }

    /** Why a module did not load: most often a driver that is older than the compiler. */
    static String refusal(String file, String gpu, int result, int driver, String cuda) {
        String[] needed = cuda.split("\\.");
        boolean old = driver < 1000 * Integer.parseInt(needed[0]) + 10 * Integer.parseInt(needed[1]);
        return "the NVIDIA driver does not load Inlay's kernels (" + file + ") on " + gpu + ": " + CUresult.stringFor(result) + (old
                ? "; it is made for CUDA " + driver / 1000 + "." + driver % 1000 / 10 + " and they need " + cuda + ": update the driver, "
                        + "or compile them with an older nvcc (kernels/cuda.sh, CUDA_HOME)" : "");
    }

    // ---- memory ----

    @Override
    public long allocate(long bytes) {
        return memory.allocate(bytes);
    }

    @Override
    public void free(long address) {
        memory.free(address);
    }

    @Override
    public void upload(MemorySegment from, long to) {
        enter();
        check(JCudaDriver.cuMemcpyHtoDAsync(new CUdeviceptr().withByteOffset(to), new HostPointer(from), from.byteSize(), currentStream()),
                "a copy to " + name);
    }

    @Override
    public void download(long from, MemorySegment to) {
        enter();
        CUstream current = currentStream();
        check(JCudaDriver.cuMemcpyDtoHAsync(new HostPointer(to), new CUdeviceptr().withByteOffset(from), to.byteSize(), current),
                "a copy from " + name);
        check(JCudaDriver.cuStreamSynchronize(current), "what was launched on " + name);
    }

    /** Waits for what is under way, which is code of these modules. After a fault the driver refuses all but the context's release. */
    @Override
    public void close() {
        memory.close();
        JCudaDriver.cuCtxSetCurrent(context);
        JCudaDriver.cuCtxSynchronize();
        if (capturing) {
            JCudaDriver.cuStreamDestroy(capture);
            capturing = false;
        }
        modules.values().forEach(JCudaDriver::cuModuleUnload);
        modules.clear();
        functions.clear();
        check(JCudaDriver.cuDevicePrimaryCtxRelease(handle), "cuDevicePrimaryCtxRelease");
    }

    /** A thread's context is its own. */
    private void enter() {
        check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    private CUstream currentStream() {
        long address = stream.getAsLong();
        return address == 0 ? new CUstream() : streamAt(address);
    }

    static CUstream streamAt(long address) {
        try {
            return (CUstream) STREAM.invokeExact(address);
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** JCuda keeps the constructor that takes a stream of another library's to itself. */
    private static MethodHandle streamConstructor() {
        try {
            return MethodHandles.privateLookupIn(CUstream.class, MethodHandles.lookup())
                    .findConstructor(CUstream.class, MethodType.methodType(void.class, long.class));
        } catch (ReflectiveOperationException changed) {
            throw new IllegalStateException("JCuda's CUstream is not the one that Inlay knows", changed);
        }
    }

    /** Native memory of this process, as JCuda takes it. */
    private static final class HostPointer extends Pointer {
        private HostPointer(MemorySegment memory) {
            super(memory.address());
        }
    }
}
