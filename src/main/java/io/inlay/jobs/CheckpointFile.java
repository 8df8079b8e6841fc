package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.delta.SafetensorsHeader;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import io.inlay.tuning.NamedTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A run's state as one safetensors file: tensors, a JSON state in {@code __metadata__}, and as its last 32 bytes the tensor {@code digest},
 * SHA-256 of every byte before. Tensors go from their own memory to the disk, piece by piece, and come back through a mapping. To the byte:
 * model-store/README.md.
 */
final class CheckpointFile implements AutoCloseable {

    static final int FORMAT_VERSION = 1;

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String FORMAT = "inlay-tuning-checkpoint";
    private static final String DIGEST = "digest";
    private static final int DIGEST_BYTES = 32;
    private static final int PIECE = 1 << 24;

    private final Path file;
    private final Arena arena;
    private final MemorySegment bytes;
    private final JsonNode state;
    private final Map<String, SafetensorsHeader.Entry> entries = new HashMap<>();

    private CheckpointFile(Path file, Arena arena, MemorySegment bytes, SafetensorsHeader header, JsonNode state) {
        this.file = file;
        this.arena = arena;
        this.bytes = bytes;
        this.state = state;
        header.entries().forEach(entry -> entries.put(entry.name(), entry));
    }

    // ---- writing ----

    /** Writes a new file and forces it to the disk. */
    static void write(Path file, JsonNode state, Libtorch torch, List<NamedTensor> tensors) throws IOException {
        MessageDigest digest = sha256();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
            put(channel, digest, header(state, tensors));
            for (NamedTensor each : tensors) {
                putTensor(channel, digest, torch, each.tensor());
            }
            put(channel, sha256(), ByteBuffer.wrap(digest.digest()));
            channel.force(true);
        }
    }

    private static ByteBuffer header(JsonNode state, List<NamedTensor> tensors) throws JsonProcessingException {
        ObjectNode root = JSON.createObjectNode();
        root.putObject("__metadata__").put("format", FORMAT).put("format_version", Integer.toString(FORMAT_VERSION))
                .put("state", JSON.writeValueAsString(state));
        long offset = 0;
        for (NamedTensor each : tensors) {
            describe(root.putObject(each.name()), type(each.tensor().dtype()), each.tensor().sizes(), offset, each.tensor().bytes());
            offset += each.tensor().bytes();
        }
        describe(root.putObject(DIGEST), "U8", new long[] {DIGEST_BYTES}, offset, DIGEST_BYTES);
        byte[] text = JSON.writeValueAsBytes(root);
        int padded = Math.ceilDiv(text.length, 8) * 8;
        ByteBuffer header = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(text);
        while (header.hasRemaining()) {
            header.put((byte) ' ');
        }
        return header.flip();
    }

    private static void describe(ObjectNode entry, String dtype, long[] sizes, long offset, long bytes) {
        entry.put("dtype", dtype);
        entry.putArray("shape");
        for (long size : sizes) {
            entry.withArray("shape").add(size);
        }
        entry.putArray("data_offsets").add(offset).add(offset + bytes);
    }

    private static String type(DType dtype) {
        return switch (dtype) {
            case UINT8 -> "U8";
            case INT8 -> "I8";
            case INT32 -> "I32";
            case INT64 -> "I64";
            case FP16 -> "F16";
            case FP32 -> "F32";
            case BF16 -> "BF16";
        };
    }

    private static void putTensor(FileChannel channel, MessageDigest digest, Libtorch torch, Tensor tensor) throws IOException {
        try (Scope copy = new Scope(torch)) {
            MemorySegment values = (tensor.device().isCpu() ? tensor : copy.copyTo(tensor, tensor.dtype(), Device.CPU)).segment();
            for (long at = 0; at < values.byteSize(); at += PIECE) {
                put(channel, digest, values.asSlice(at, Math.min(PIECE, values.byteSize() - at)).asByteBuffer());
            }
        }
    }

    private static void put(FileChannel channel, MessageDigest digest, ByteBuffer bytes) throws IOException {
        digest.update(bytes.duplicate());
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    // ---- reading ----

    /**
     * Maps a file and checks all of it.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} when it is torn, damaged or of another format
     */
    static CheckpointFile open(Path file) throws IOException {
        Arena arena = Arena.ofConfined();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            SafetensorsHeader header = SafetensorsHeader.read(bytes, file.toString(), Problem.Code.CORRUPT_CHECKPOINT);
            requireFormat(file, header.metadata());
            requireDigest(file, header, bytes);
            return new CheckpointFile(file, arena, bytes, header, JSON.readTree(header.metadata().get("state")));
        } catch (IOException | RuntimeException refused) {
            arena.close();
            throw refused;
        }
    }

    private static void requireFormat(Path file, Map<String, String> metadata) {
        String version = metadata.get("format_version");
        if (!FORMAT.equals(metadata.get("format")) || !Integer.toString(FORMAT_VERSION).equals(version) || !metadata.containsKey("state")) {
            throw corrupt(file, "is no tuning checkpoint of format version " + FORMAT_VERSION);
        }
    }

    private static void requireDigest(Path file, SafetensorsHeader header, MemorySegment bytes) {
        SafetensorsHeader.Entry last = header.entries().isEmpty() ? null : header.entries().getLast();
        if (last == null || !last.name().equals(DIGEST) || last.bytes() != DIGEST_BYTES) {
            throw corrupt(file, "does not end with its digest");
        }
        MessageDigest digest = sha256();
        for (long at = 0; at < last.begin(); at += PIECE) {
            digest.update(bytes.asSlice(at, Math.min(PIECE, last.begin() - at)).asByteBuffer());
        }
        if (!Arrays.equals(digest.digest(), bytes.asSlice(last.begin(), DIGEST_BYTES).toArray(ValueLayout.JAVA_BYTE))) {
            throw corrupt(file, "does not have the digest that it states; it was damaged");
        }
    }

    private static Problem corrupt(Path file, String what) {
        return new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " " + what);
    }

    JsonNode state() {
        return state;
    }

    boolean has(String name) {
        return entries.containsKey(name);
    }

    /** Fills tensors of the same names, types and sizes. */
    void read(Libtorch torch, List<NamedTensor> into) {
        for (NamedTensor each : into) {
            Tensor tensor = each.tensor();
            SafetensorsHeader.Entry entry = entries.get(each.name());
            if (entry == null || !entry.dtype().equals(type(tensor.dtype())) || !Arrays.equals(entry.shape(), tensor.sizes())) {
                throw corrupt(file, "has " + (entry == null ? "no tensor '" + each.name() + "'"
                        : "tensor '" + each.name() + "' of " + entry.dtype() + Arrays.toString(entry.shape())) + " where the run has "
                        + type(tensor.dtype()) + Arrays.toString(tensor.sizes()) + "; cancel the job and create it again");
            }
            try (Scope copy = new Scope(torch)) {
                Tensor host = tensor.device().isCpu() ? tensor : copy.empty(tensor.dtype(), Device.CPU, tensor.sizes());
                host.segment().copyFrom(bytes.asSlice(entry.begin(), entry.bytes()));
                if (host != tensor) {
                    torch.copy(tensor, host);
                }
            }
        }
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }

    /** Lets go of the file; a second time does nothing. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
