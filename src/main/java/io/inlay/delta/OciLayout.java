package io.inlay.delta;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A delta as an artifact in an OCI image layout (image-spec 1.1), packed as one tar archive: {@code oci-layout}, {@code index.json}, and
 * under {@code blobs/sha256} the artifact's manifest, the empty config and one layer, which is the delta's own file, byte for byte.
 */
public final class OciLayout {

    public static final String ARTIFACT = "application/vnd.inlay.delta.v1";
    public static final String LAYER = "application/vnd.inlay.delta.v1+safetensors";

    private static final String MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    private static final String INDEX = "application/vnd.oci.image.index.v1+json";
    private static final String EMPTY = "application/vnd.oci.empty.v1+json";
    private static final byte[] EMPTY_CONFIG = "{}".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] VERSION = "{\"imageLayoutVersion\":\"1.0.0\"}".getBytes(StandardCharsets.US_ASCII);
    private static final Pattern DIGEST = Pattern.compile("sha256:[0-9a-f]{64}");

    /** Index and manifest are small; what is larger is neither. */
    private static final long MAX_JSON = 1 << 16;

    private static final ObjectMapper JSON = JsonMapper.builder(JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(16).maxNumberLength(20).build()).build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    private OciLayout() {
    }

    /**
     * Writes the archive. The delta's bytes are read once before, for their digest; the stream stays open.
     *
     * @param file the delta's own, whose manifest {@code delta} is
     */
    public static void write(DeltaManifest delta, MemorySegment file, String model, OutputStream out) throws IOException {
        String layer = Digests.of(file);
        byte[] manifest = manifest(delta, layer, file.byteSize(), model);
        TarOutput tar = new TarOutput(out);
        tar.file("oci-layout", VERSION);
        tar.file("index.json", index(manifest, delta, model));
        tar.file(path(digest(EMPTY_CONFIG)), EMPTY_CONFIG);
        tar.file(path(digest(manifest)), manifest);
        tar.file(path(layer), file.byteSize(), to -> DeltaFile.write(file, to));
        tar.end();
    }

    private static byte[] manifest(DeltaManifest delta, String layer, long bytes, String model) throws IOException {
        ObjectNode manifest = JSON.createObjectNode().put("schemaVersion", 2).put("mediaType", MANIFEST).put("artifactType", ARTIFACT);
        descriptor(manifest.putObject("config"), EMPTY, digest(EMPTY_CONFIG), EMPTY_CONFIG.length).put("data", "e30=");
        descriptor(manifest.putArray("layers").addObject(), LAYER, layer, bytes).putObject("annotations")
                .put("org.opencontainers.image.title", "delta.safetensors");
        annotations(manifest.putObject("annotations"), delta, model);
        return JSON.writeValueAsBytes(manifest);
    }

    private static byte[] index(byte[] manifest, DeltaManifest delta, String model) throws IOException {
        ObjectNode index = JSON.createObjectNode().put("schemaVersion", 2).put("mediaType", INDEX);
        ObjectNode entry = descriptor(index.putArray("manifests").addObject(), MANIFEST, digest(manifest), manifest.length)
                .put("artifactType", ARTIFACT);
        annotations(entry.putObject("annotations"), delta, model);
        return JSON.writeValueAsBytes(index);
    }

    private static void annotations(ObjectNode annotations, DeltaManifest delta, String model) {
        annotations.put("org.opencontainers.image.created", delta.createdAt()).put("org.opencontainers.image.title", model)
                .put("io.inlay.delta.digest", delta.digest()).put("io.inlay.base.fingerprint", delta.baseFingerprint());
    }

    private static ObjectNode descriptor(ObjectNode node, String type, String digest, long size) {
        return node.put("mediaType", type).put("digest", digest).put("size", size);
    }

    private static String digest(byte[] bytes) {
        MessageDigest digest = Digests.sha256();
        digest.update(bytes);
        return Digests.text(digest);
    }

    private static String path(String digest) {
        return "blobs/sha256/" + digest.substring("sha256:".length());
    }

    /**
     * The delta's file within an archive, a slice of its bytes; whether it is a delta is for {@link DeltaFile} to say. One artifact of
     * Inlay's type with one layer; every blob that is named is there with the size and digest that are stated, and nothing else is.
     *
     * @param label the archive's name, for refusals
     * @throws Problem {@code CORRUPT_DELTA}
     */
    public static MemorySegment read(MemorySegment archive, String label) {
        Map<String, MemorySegment> files = TarEntries.read(archive, label);
        if (!"1.0.0".equals(json(take(files, "oci-layout", label), "oci-layout", label).path("imageLayoutVersion").asText())) {
            throw refusal(label, "has an oci-layout of another version than 1.0.0");
        }
        JsonNode index = json(take(files, "index.json", label), "index.json", label);
        requireSchema(index, INDEX, "index.json", label);
        JsonNode named = only(index, "manifests", "index.json", label);
        JsonNode manifest = json(blob(files, named, MANIFEST, MAX_JSON, label), "its manifest", label);
        requireSchema(manifest, MANIFEST, "its manifest", label);
        if (!ARTIFACT.equals(manifest.path("artifactType").asText())) {
            throw refusal(label, "has a manifest of the artifact type '" + shown(manifest.path("artifactType").asText())
                    + "'; Inlay's deltas have " + ARTIFACT);
        }
        Set<String> used = new HashSet<>();
        JsonNode config = manifest.path("config");
        blob(files, config, EMPTY, MAX_JSON, label);
        used.add(path(config.path("digest").asText()));
        JsonNode layer = only(manifest, "layers", "its manifest", label);
        MemorySegment delta = blob(files, layer, LAYER, archive.byteSize(), label);
        used.add(path(layer.path("digest").asText()));
        used.add(path(named.path("digest").asText()));
        for (String file : files.keySet()) {
            if (!used.contains(file)) {
                throw refusal(label, "has the file '" + file + "', which nothing in it names");
            }
        }
        return delta;
    }

    private static MemorySegment take(Map<String, MemorySegment> files, String name, String label) {
        MemorySegment bytes = files.remove(name);
        if (bytes == null) {
            throw refusal(label, "has no " + name + "; an OCI image layout has one at its top");
        }
        return bytes;
    }

    private static JsonNode json(MemorySegment bytes, String what, String label) {
        if (bytes.byteSize() > MAX_JSON) {
            throw refusal(label, "has " + what + " of " + bytes.byteSize() + " bytes; at most " + MAX_JSON + " are read");
        }
        try {
            JsonNode node = JSON.readTree(bytes.toArray(ValueLayout.JAVA_BYTE));
            if (node != null && node.isObject()) {
                return node;
            }
            throw refusal(label, "has " + what + " that is no JSON object");
        } catch (JsonProcessingException malformed) {
            throw refusal(label, "has " + what + " that is malformed: " + malformed.getOriginalMessage());
        } catch (IOException refused) {
            throw refusal(label, "has " + what + " that cannot be read: " + refused.getMessage());
        }
    }

    private static void requireSchema(JsonNode node, String type, String what, String label) {
        if (node.path("schemaVersion").asInt() != 2 || !node.path("mediaType").asText(type).equals(type)) {
            throw refusal(label, "has " + what + " that is not of schemaVersion 2 and media type " + type);
        }
    }

    private static JsonNode only(JsonNode node, String field, String what, String label) {
        if (!node.path(field).isArray() || node.path(field).size() != 1) {
            throw refusal(label, "has " + what + " with " + node.path(field).size() + " " + field + "; a delta has one");
        }
        return node.path(field).path(0);
    }

    private static MemorySegment blob(Map<String, MemorySegment> files, JsonNode descriptor, String type, long most, String label) {
        String digest = descriptor.path("digest").asText();
        if (!type.equals(descriptor.path("mediaType").asText())) {
            throw refusal(label, "names a blob of media type '" + shown(descriptor.path("mediaType").asText()) + "' where " + type
                    + " is expected");
        }
        if (!DIGEST.matcher(digest).matches()) {
            throw refusal(label, "names a blob by '" + shown(digest) + "', which is no SHA-256 digest (sha256: and 64 of 0-9 a-f)");
        }
        MemorySegment bytes = files.get(path(digest));
        if (bytes == null) {
            throw refusal(label, "names the blob " + digest + ", which is not in it");
        }
        JsonNode size = descriptor.path("size");
        if (!size.isIntegralNumber() || !size.canConvertToLong() || size.asLong() != bytes.byteSize() || bytes.byteSize() > most) {
            throw refusal(label, "states " + shown(size.asText()) + " bytes for the blob " + digest + ", which has " + bytes.byteSize());
        }
        if (!Digests.of(bytes).equals(digest)) {
            throw refusal(label, "has a blob whose content is not " + digest + "; it is damaged or was tampered with");
        }
        return bytes;
    }

    /** What is shown of a text that an attacker may have written. */
    private static String shown(String text) {
        String plain = text.codePoints().map(c -> c < ' ' || c == 0x7F ? '?' : c).collect(StringBuilder::new,
                StringBuilder::appendCodePoint, StringBuilder::append).toString();
        return plain.length() > 100 ? plain.substring(0, 100) + "..." : plain;
    }

    private static Problem refusal(String label, String what) {
        return new Problem(Problem.Code.CORRUPT_DELTA, label + " " + what);
    }
}
