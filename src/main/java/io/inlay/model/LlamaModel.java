package io.inlay.model;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.Int8Weight;
import io.inlay.kernels.Kernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.HostUpload;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;

/**
 * One base model in memory: configuration, tokenizer and weights, shared by every request and every tuning job. On the CPU weights whose
 * stored type is the one asked for are the mapped file itself, read-only; others, and all on another device, are copies. Nothing ever
 * writes to them. Where linears are served in int8 their exact values stay what the fingerprint is of, deltas lie over and training reads.
 */
public final class LlamaModel implements AutoCloseable, BaseMatrices {

    private final Libtorch torch;
    private final Kernels kernels;
    private final String name;
    private final ModelOptions options;
    private final Checkpoint checkpoint;
    private final Tokenizer tokenizer;
    private final ChatTemplate chatTemplate;
    private final Scope scope;
    private final HostUpload upload;
    private final Map<String, Tensor> tensors = new HashMap<>();
    private final LlamaWeights weights;
    private final Tensor ropeTable;
    private final int maxContext;
    private final String fingerprint;
    private final String digestAtLoad;
    private final boolean converted;
    private final Int8Linears int8;

    private LlamaModel(Libtorch torch, Kernels kernels, Path folder, ModelOptions options, Checkpoint checkpoint, Scope scope,
            HostUpload upload) {
        this.torch = torch;
        this.kernels = kernels;
        this.options = options;
        this.checkpoint = checkpoint;
        this.name = name(folder);
        LlamaConfig config = checkpoint.config();
        if (options.maxContext() > config.maxPositions()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "max context of " + options.maxContext() + " is over the " + config.maxPositions()
                    + " positions that model " + name + " was made for; set a smaller one, or 0 for the model's own");
        }
        this.maxContext = options.maxContext() == 0 ? config.maxPositions() : options.maxContext();
        this.tokenizer = Tokenizer.open(folder);
        this.chatTemplate = ChatTemplate.open(folder);
        this.scope = scope;
        this.upload = upload;
        boolean other = false;
        for (ParameterShape parameter : config.parameters()) {
            StoredTensor stored = checkpoint.tensors().get(parameter.name());
            Tensor asStored = onDevice(stored);
            if (asStored.dtype() == options.dtype()) {
                tensors.put(parameter.name(), asStored);
            } else {
                tensors.put(parameter.name(), scope.copyTo(asStored, options.dtype(), options.device()));
                scope.free(asStored);
                other = true;
            }
        }
        this.converted = other;
        this.weights = LlamaWeights.of(config, tensors::get);
        this.ropeTable = scope.of(options.device(), RopeTable.of(config, maxContext), maxContext, config.headDim());
        this.fingerprint = options.fingerprintCache() == null ? BaseFingerprint.of(checkpoint)
                : BaseFingerprint.cached(checkpoint, options.fingerprintCache());
        this.digestAtLoad = converted ? hashMemory() : fingerprint;
        this.int8 = options.form() == ModelOptions.Form.INT8 ? new Int8Linears(name, config, weights, scope) : null;
        if (int8 != null) {
            checkpoint.unload();
        }
    }

    /** The mapped file itself on the CPU, a copy of it elsewhere. */
    private Tensor onDevice(StoredTensor stored) {
        if (options.device().isCpu()) {
            return scope.wrap(stored.bytes(), stored.type().dtype(), stored.shape());
        }
        Tensor copy = scope.empty(stored.type().dtype(), options.device(), stored.shape());
        upload.copy(stored.bytes(), copy);
        return copy;
    }

    /**
     * Opens a checkpoint in Hugging Face layout.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} or {@code UNSUPPORTED_MODEL}, naming file and tensor or field
     */
    public static LlamaModel open(Libtorch torch, Kernels kernels, Path folder, ModelOptions options) {
        Checkpoint checkpoint = Checkpoint.open(folder);
        Scope scope = new Scope(torch, "weights of " + name(folder));
        HostUpload upload = new HostUpload(torch, options.device());
        try {
            return new LlamaModel(torch, kernels, folder, options, checkpoint, scope, upload);
        } catch (RuntimeException failure) {
            upload.close();
            scope.close();
            checkpoint.close();
            throw failure;
        }
    }

    private static String name(Path folder) {
        return folder.toAbsolutePath().normalize().getFileName().toString();
    }

    public LlamaConfig config() {
        return checkpoint.config();
    }

    public Tokenizer tokenizer() {
        return tokenizer;
    }

    public ChatTemplate chatTemplate() {
        return chatTemplate;
    }

    /** The checkpoint folder's name. */
    public String name() {
        return name;
    }

    /** Identity of the base by content, {@code sha256:...}, as of loading. */
    public String fingerprint() {
        return fingerprint;
    }

    /**
     * Hashes the weights in memory now: equals {@link #fingerprint()} as long as nothing has changed them. Reads every byte; where linears
     * are served in int8, these are made again and compared.
     */
    public String digest() {
        String now = hashMemory();
        if (!now.equals(digestAtLoad)) {
            return now;
        }
        return int8 == null || int8.intact(scope) ? fingerprint : fingerprint + ", but its int8 linears have changed";
    }

    private String hashMemory() {
        SortedMap<String, BaseFingerprint.HashedTensor> live = new TreeMap<>();
        tensors.forEach((tensor, value) -> live.put(tensor,
                new BaseFingerprint.HashedTensor(StoredType.of(value.dtype()), value.sizes(), reader -> onHost(value, reader))));
        return BaseFingerprint.of(live);
    }

    /** Shows a weight's bytes, copied where they are a device's. */
    void onHost(Tensor weight, Consumer<MemorySegment> reader) {
        try (Scope copy = new Scope(torch)) {
            reader.accept(copy.onHost(weight).segment());
        }
    }

    public long parameterCount() {
        return config().parameterCount();
    }

    /** Bytes of all exact weights as held. */
    public long bytes() {
        return tensors.values().stream().mapToLong(Tensor::bytes).sum();
    }

    /** Bytes of the linears' int8 forms, beside the exact weights; 0 where they are served as they are. */
    public long int8Bytes() {
        return int8 == null ? 0 : int8.bytes();
    }

    /** Bytes of the weights that answers read. */
    public long servedBytes() {
        return int8 == null ? bytes() : bytes() - int8.replacedBytes() + int8.bytes();
    }

    /** In which form linears are read for answers. */
    public ModelOptions.Form form() {
        return options.form();
    }

    /** The int8 form of one of the base's linears, or null where it is to be read as it is. */
    Int8Weight int8(Tensor weight) {
        return int8 == null ? null : int8.of(weight);
    }

    public int maxContext() {
        return maxContext;
    }

    public DType dtype() {
        return options.dtype();
    }

    public Device device() {
        return options.device();
    }

    public Kernels kernels() {
        return kernels;
    }

    public Libtorch torch() {
        return torch;
    }

    /** What brings deltas to the device. */
    HostUpload upload() {
        return upload;
    }

    LlamaWeights weights() {
        return weights;
    }

    /** Where the checkpoint lies. */
    Path folder() {
        return checkpoint.folder();
    }

    /** The parameter of that name as held; null when there is none. */
    Tensor tensor(String parameter) {
        return tensors.get(parameter);
    }

    /** fp32 [maxContext, D]: cosines, then sines. */
    Tensor ropeTable() {
        return ropeTable;
    }

    @Override
    public Matrix matrix(String tensor) {
        Tensor weight = tensors.get(tensor);
        if (weight == null || weight.rank() != 2) {
            return null;
        }
        return new Matrix(weight.dim(0), weight.dim(1), bits(tensor, weight));
    }

    @Override
    public WholeTensor whole(String tensor) {
        Tensor weight = tensors.get(tensor);
        return weight == null ? null : new WholeTensor(tensor, weight.sizes(), bits(tensor, weight));
    }

    /**
     * The bf16 form of a weight: the mapped file's own where that is bf16, whatever it is held as. It is never read from a device, so that
     * who decodes a delta keeps nobody waiting who computes there.
     */
    private MemorySegment bits(String name, Tensor weight) {
        StoredTensor stored = checkpoint.tensors().get(name);
        if (stored.type().dtype() == DType.BF16) {
            return stored.bytes().asReadOnly();
        }
        return weight.dtype() == DType.BF16 && weight.device().isCpu() ? weight.segment().asReadOnly() : narrowed(stored);
    }

    /** The bf16 form of a weight that no memory of the host has, in memory of the garbage collector's. */
    private MemorySegment narrowed(StoredTensor stored) {
        try (Scope copy = new Scope(torch)) {
            Tensor exact = copy.wrap(stored.bytes(), stored.type().dtype(), stored.shape());
            MemorySegment bits = copy.copyTo(exact, DType.BF16, Device.CPU).segment();
            return MemorySegment.ofArray(bits.toArray(java.lang.foreign.ValueLayout.JAVA_SHORT)).asReadOnly();
        }
    }

    @Override
    public void close() {
        upload.close();
        scope.close();
        checkpoint.close();
    }
}
