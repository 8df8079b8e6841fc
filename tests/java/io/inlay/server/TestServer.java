package io.inlay.server;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.quarkus.test.common.QuarkusTestResourceLifecycleManager;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.ShortBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * The server of the API's tests: folders of its own, two tenants, and three models: {@code small} with random weights,
 * {@code poisoned} with a NaN in its last norm, and the embedded one.
 */
public final class TestServer implements QuarkusTestResourceLifecycleManager {

    public static final String ALICE = "key-of-alice-0123456789";
    public static final String BOB = "key-of-bob-0123456789";
    public static final String ADMIN = "key-of-the-operator-0123456789-0123456789";

    /** Of the first two models. */
    public static final int CONTEXT = 128;

    /** Where uploaded files may be this large, in bytes. */
    public static final int MAX_FILE = 200_000;

    /** Where imported deltas may be this large, in bytes. */
    public static final int MAX_IMPORT = 2_000_000;

    private static final Path SOURCE = Path.of("tests/golden/tuning/model");

    private Path root;

    @Override
    public Map<String, String> start() {
        try {
            root = Files.createTempDirectory("inlay-server-test");
            sharpen(copyModel(root.resolve("base/small")).resolve("model.safetensors"));
            copyModel(Path.of("model-store/base/inlay-tiny"), root.resolve("base/inlay-tiny"));
            poison(copyModel(root.resolve("base/poisoned")).resolve("model.safetensors"));
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        return Map.ofEntries(Map.entry("quarkus.http.test-port", "0"), Map.entry("inlay.models.folder", root.resolve("base").toString()),
                Map.entry("inlay.store", root.resolve("tenants").toString()), Map.entry("inlay.data", root.resolve("data").toString()),
                Map.entry("inlay.tenants.alice.keys", ALICE), Map.entry("inlay.tenants.bob.keys", BOB),
                Map.entry("inlay.access.admin-keys", ADMIN),
                Map.entry("inlay.files.max-bytes", Integer.toString(MAX_FILE)), Map.entry("inlay.generation.max-tokens", "1000000"),
                Map.entry("inlay.imports.max-bytes", Integer.toString(MAX_IMPORT)),
                Map.entry("inlay.tuning.max-steps", "20000"));
    }

    /** Copies the small model to a folder and returns it. */
    public static Path copyModel(Path to) throws IOException {
        return copyModel(SOURCE, to);
    }

    private static Path copyModel(Path from, Path to) throws IOException {
        Files.createDirectories(to);
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.toList()) {
                Files.copy(file, to.resolve(file.getFileName()));
            }
        }
        return to;
    }

    /** Writes a bf16 NaN over the first weight of the last norm. */
    public static void poison(Path weights) throws IOException {
        change(weights, "model.norm.weight", values -> values.put(0, (short) 0x7FC0));
    }

    /** Makes the embedding 8 times as large: as it is, no logit of the model can get far from 0, and it could not learn an answer. */
    private static void sharpen(Path weights) throws IOException {
        change(weights, "model.embed_tokens.weight", values -> {
            for (int i = 0; i < values.capacity(); i++) {
                if ((values.get(i) & 0x7F80) != 0) {
                    values.put(i, (short) (values.get(i) + (3 << 7)));
                }
            }
        });
    }

    private static void change(Path weights, String tensor, Consumer<ShortBuffer> change) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(weights)).order(ByteOrder.LITTLE_ENDIAN);
        int header = (int) bytes.getLong(0);
        JsonNode offsets = new ObjectMapper().readTree(new String(bytes.array(), 8, header, StandardCharsets.UTF_8)).path(tensor).path("data_offsets");
        int from = offsets.path(0).asInt();
        change.accept(bytes.slice(8 + header + from, offsets.path(1).asInt() - from).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer());
        Files.write(weights, bytes.array());
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
