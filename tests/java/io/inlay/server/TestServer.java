package io.inlay.server;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.quarkus.test.common.QuarkusTestResourceLifecycleManager;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The server of the API's tests: folders of its own, two tenants, and two small models: {@code small} with random weights, and
 * {@code poisoned}, the same with a NaN in its last norm.
 */
public final class TestServer implements QuarkusTestResourceLifecycleManager {

    public static final String ALICE = "key-of-alice-0123456789";
    public static final String BOB = "key-of-bob-0123456789";

    /** Of both models. */
    public static final int CONTEXT = 128;

    /** Where uploaded files may be this large, in bytes. */
    public static final int MAX_FILE = 200_000;

    private static final Path SOURCE = Path.of("tests/golden/tuning/model");

    private Path root;

    @Override
    public Map<String, String> start() {
        try {
            root = Files.createTempDirectory("inlay-server-test");
            copyModel(root.resolve("base/small"));
            poison(copyModel(root.resolve("base/poisoned")).resolve("model.safetensors"));
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        return Map.ofEntries(Map.entry("quarkus.http.test-port", "0"), Map.entry("inlay.models.folder", root.resolve("base").toString()),
                Map.entry("inlay.store", root.resolve("tenants").toString()), Map.entry("inlay.data", root.resolve("data").toString()),
                Map.entry("inlay.tenants.alice.keys", ALICE), Map.entry("inlay.tenants.bob.keys", BOB),
                Map.entry("inlay.files.max-bytes", Integer.toString(MAX_FILE)), Map.entry("inlay.generation.max-tokens", "1000000"),
                Map.entry("inlay.tuning.max-steps", "20000"));
    }

    /** Copies the small model to a folder and returns it. */
    public static Path copyModel(Path to) throws IOException {
        Files.createDirectories(to);
        for (String file : new String[] {"config.json", "tokenizer.json", "model.safetensors"}) {
            Files.copy(SOURCE.resolve(file), to.resolve(file));
        }
        return to;
    }

    /** Writes a bf16 NaN over the first weight of the last norm. */
    public static void poison(Path weights) throws IOException {
        byte[] bytes = Files.readAllBytes(weights);
        int header = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
        JsonNode tensors = new ObjectMapper().readTree(new String(bytes, 8, header, StandardCharsets.UTF_8));
        int at = 8 + header + tensors.path("model.norm.weight").path("data_offsets").path(0).asInt();
        bytes[at] = (byte) 0xC0;
        bytes[at + 1] = 0x7F;
        Files.write(weights, bytes);
    }

    @Override
    public void stop() {
        try (Stream<Path> all = Files.walk(root)) {
            all.sorted(Comparator.reverseOrder()).forEach(each -> each.toFile().delete());
        } catch (IOException left) {
            // A temporary folder may stay.
        }
    }
}
