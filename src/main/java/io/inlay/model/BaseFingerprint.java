package io.inlay.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;

/**
 * The identity of a base model by content: SHA-256 over one line per tensor, sorted by name,
 * {@code name TAB type TAB shape TAB sha256(bytes) LF}. How the tensors are spread over files does not matter.
 */
final class BaseFingerprint {

    private static final long PIECE = 1L << 20;
    private static final ObjectMapper JSON = new ObjectMapper();

    private BaseFingerprint() {
    }

    /** What is hashed of a tensor. */
    record HashedTensor(StoredType type, long[] shape, Bytes bytes) {
    }

    /** A tensor's bytes, in the host's memory for as long as they are read. */
    @FunctionalInterface
    interface Bytes {
        void read(Consumer<MemorySegment> reader);
    }

    static String of(Checkpoint checkpoint) {
        SortedMap<String, HashedTensor> tensors = new TreeMap<>();
        checkpoint.tensors().forEach((name, tensor) -> tensors.put(name, new HashedTensor(tensor.type(), tensor.shape(),
                reader -> reader.accept(tensor.bytes()))));
        return of(tensors);
    }

    /** Hashes tensors in parallel, each by itself, then their list. */
    static String of(SortedMap<String, HashedTensor> tensors) {
        Map<String, String> lines = new TreeMap<>();
        tensors.entrySet().parallelStream().forEach(entry -> {
            String line = entry.getKey() + "\t" + entry.getValue().type() + "\t" + Arrays.toString(entry.getValue().shape()) + "\t"
                    + hex(entry.getValue().bytes()) + "\n";
            synchronized (lines) {
                lines.put(entry.getKey(), line);
            }
        });
        MessageDigest digest = sha256();
        lines.values().forEach(line -> digest.update(line.getBytes(StandardCharsets.UTF_8)));
        return "sha256:" + HexFormat.of().formatHex(digest.digest());
    }

    private static String hex(Bytes bytes) {
        MessageDigest digest = sha256();
        bytes.read(all -> {
            for (long at = 0; at < all.byteSize(); at += PIECE) {
                digest.update(all.asSlice(at, Math.min(PIECE, all.byteSize() - at)).asByteBuffer());
            }
        });
        return HexFormat.of().formatHex(digest.digest());
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }

    /**
     * The fingerprint, remembered in {@code cache} (a JSON file) for as long as the files keep path, size, time of change and identity.
     */
    static String cached(Checkpoint checkpoint, Path cache) {
        String key = checkpoint.folder().toAbsolutePath().normalize().toString();
        String state = state(checkpoint);
        ObjectNode known = read(cache);
        JsonNode entry = known.path(key);
        if (entry.path("files").asText().equals(state)) {
            return entry.path("fingerprint").asText();
        }
        String fingerprint = of(checkpoint);
        known.putObject(key).put("files", state).put("fingerprint", fingerprint);
        write(cache, known);
        return fingerprint;
    }

    private static String state(Checkpoint checkpoint) {
        StringBuilder state = new StringBuilder();
        TreeSet<Path> files = new TreeSet<>();
        checkpoint.tensors().values().forEach(tensor -> files.add(tensor.file()));
        for (Path file : files) {
            try {
                BasicFileAttributes facts = Files.readAttributes(file, BasicFileAttributes.class);
                state.append(file.getFileName()).append(' ').append(facts.size()).append(' ')
                        .append(facts.lastModifiedTime().to(java.util.concurrent.TimeUnit.NANOSECONDS)).append(' ')
                        .append(facts.fileKey()).append('\n');
            } catch (IOException failure) {
                throw new UncheckedIOException(failure);
            }
        }
        return state.toString();
    }

    /** A cache that cannot be read or written is no cache: the fingerprint is then computed each time. */
    private static ObjectNode read(Path cache) {
        try {
            return Files.isRegularFile(cache) && JSON.readTree(cache.toFile()) instanceof ObjectNode node ? node : JSON.createObjectNode();
        } catch (IOException unreadable) {
            return JSON.createObjectNode();
        }
    }

    private static void write(Path cache, ObjectNode known) {
        try {
            Path folder = cache.toAbsolutePath().getParent();
            Files.createDirectories(folder);
            Path fresh = Files.createTempFile(folder, "fingerprints", ".tmp");
            JSON.writerWithDefaultPrettyPrinter().writeValue(fresh.toFile(), known);
            Files.move(fresh, cache, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException unwritable) {
            org.slf4j.LoggerFactory.getLogger(BaseFingerprint.class).warn("fingerprints cannot be remembered in {}: {}", cache,
                    unwritable.getMessage());
        }
    }
}
