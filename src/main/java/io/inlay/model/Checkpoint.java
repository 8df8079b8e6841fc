package io.inlay.model;

import io.inlay.Problem;
import io.inlay.delta.SafetensorsHeader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A model folder in Hugging Face layout, opened: {@code config.json} read, {@code model.safetensors} (or the shards that
 * {@code model.safetensors.index.json} names) mapped without a copy. Every parameter is there, once, with its shape.
 */
public final class Checkpoint implements AutoCloseable {

    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    private final Path folder;
    private final LlamaConfig config;
    private final Arena arena;
    private final Map<String, StoredTensor> tensors;

    private Checkpoint(Path folder, LlamaConfig config, Arena arena, Map<String, StoredTensor> tensors) {
        this.folder = folder;
        this.config = config;
        this.arena = arena;
        this.tensors = Collections.unmodifiableMap(tensors);
    }

    /**
     * Opens and checks a folder.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} or {@code UNSUPPORTED_MODEL}, naming file and tensor
     */
    public static Checkpoint open(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new Problem(Problem.Code.MODEL_NOT_FOUND, folder + " is no folder; a model is a folder in Hugging Face layout");
        }
        LlamaConfig config = LlamaConfig.parse(folder);
        Arena arena = Arena.ofShared();
        try {
            Map<String, StoredTensor> tensors = new TreeMap<>();
            for (Path file : files(folder)) {
                map(file, arena, tensors);
            }
            return new Checkpoint(folder, config, arena, checked(folder, config, tensors));
        } catch (RuntimeException failure) {
            arena.close();
            throw failure;
        }
    }

    private static List<Path> files(Path folder) {
        if (Files.isRegularFile(folder.resolve(SINGLE))) {
            return List.of(folder.resolve(SINGLE));
        }
        Path index = folder.resolve(INDEX);
        if (!Files.isRegularFile(index)) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, folder + " has neither " + SINGLE + " nor " + INDEX
                    + "; weights must be safetensors (transformers writes them with model.save_pretrained)");
        }
        Set<String> names = new TreeSet<>();
        ConfigFields shards = ConfigFields.read(index).object("weight_map");
        shards.json().fieldNames().forEachRemaining(tensor -> names.add(shards.text(tensor, "")));
        if (names.isEmpty()) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, index + " has no weight_map; fetch the file again");
        }
        return names.stream().map(name -> shard(folder, index, name)).toList();
    }

    private static Path shard(Path folder, Path index, String name) {
        if (name.isEmpty() || name.contains("/") || name.contains("\\") || name.startsWith(".")) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, index + " names the file '" + name + "', which is no file of its own "
                    + "folder; fetch the file again from a source that you trust");
        }
        Path file = folder.resolve(name);
        if (!Files.isRegularFile(file)) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, index + " names " + name + ", which is missing; fetch every file of the "
                    + "model");
        }
        return file;
    }

    private static void map(Path file, Arena arena, Map<String, StoredTensor> tensors) {
        MemorySegment mapped;
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            mapped = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        } catch (IOException failure) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " cannot be mapped: " + failure.getMessage()
                    + "; check its permissions", failure);
        }
        SafetensorsHeader header = SafetensorsHeader.read(mapped, file.toString(), Problem.Code.CORRUPT_CHECKPOINT);
        for (SafetensorsHeader.Entry entry : header.entries()) {
            StoredType type = StoredType.named(entry.dtype());
            if (type == null) {
                throw new Problem(Problem.Code.UNSUPPORTED_MODEL, file + " has tensor '" + entry.name() + "' of type " + entry.dtype()
                        + "; weights must be BF16, F16 or F32");
            }
            MemorySegment bytes = aligned(mapped.asSlice(entry.begin(), entry.bytes()), type, arena);
            StoredTensor tensor = new StoredTensor(entry.name(), type, entry.shape(), bytes, file);
            StoredTensor twice = tensors.putIfAbsent(entry.name(), tensor);
            if (twice != null) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " has tensor '" + entry.name() + "', which " + twice.file()
                        + " has too; fetch the model again");
            }
        }
    }

    /** The bytes themselves, or a copy where an odd header put them across the boundaries of their elements, which kernels rely on. */
    private static MemorySegment aligned(MemorySegment bytes, StoredType type, Arena arena) {
        if (bytes.address() % type.dtype().bytes() == 0) {
            return bytes;
        }
        return arena.allocate(bytes.byteSize(), 64).copyFrom(bytes).asReadOnly();
    }

    private static Map<String, StoredTensor> checked(Path folder, LlamaConfig config, Map<String, StoredTensor> tensors) {
        Map<String, StoredTensor> expected = new HashMap<>();
        Set<String> surplus = new HashSet<>(tensors.keySet());
        for (ParameterShape parameter : config.parameters()) {
            StoredTensor tensor = tensors.get(parameter.name());
            if (tensor == null) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, folder + " has no tensor '" + parameter.name() + "', for which its "
                        + "config.json asks in shape " + Arrays.toString(parameter.shape()) + "; fetch every file of the model");
            }
            if (!Arrays.equals(tensor.shape(), parameter.shape())) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, tensor.file() + " has tensor '" + parameter.name() + "' of shape "
                        + Arrays.toString(tensor.shape()) + ", but its config.json asks for " + Arrays.toString(parameter.shape())
                        + "; fetch config.json and weights of the same model");
            }
            expected.put(parameter.name(), tensor);
            surplus.remove(parameter.name());
        }
        surplus.removeIf(name -> name.endsWith(".rotary_emb.inv_freq") || (config.tiedEmbeddings() && name.equals(LlamaWeights.HEAD)));
        if (!surplus.isEmpty()) {
            throw new Problem(Problem.Code.UNSUPPORTED_MODEL, folder + " has " + surplus.size() + " tensors that no LLaMA of its "
                    + "config.json has, the first of them '" + new TreeSet<>(surplus).first() + "'; Inlay serves LLaMA 1, 2, 3, 3.1 and 3.2");
        }
        return expected;
    }

    public Path folder() {
        return folder;
    }

    public LlamaConfig config() {
        return config;
    }

    /** The parameters of {@link LlamaConfig#parameters()} by name. */
    public Map<String, StoredTensor> tensors() {
        return tensors;
    }

    /** Lets go of the mapped pages: they come back from the file when they are read again. */
    void unload() {
        tensors.values().stream().map(StoredTensor::bytes).filter(MemorySegment::isMapped).forEach(MemorySegment::unload);
    }

    @Override
    public void close() {
        arena.close();
    }
}
