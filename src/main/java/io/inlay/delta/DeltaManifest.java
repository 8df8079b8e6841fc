package io.inlay.delta;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.inlay.Problem;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What a delta says of itself: where it comes from, what it must be decoded against, and what it must decode to.
 *
 * @param formatVersion {@value #FORMAT_VERSION}, or {@value #WHOLE_TENSORS_VERSION} when there are whole tensors
 * @param base name of the base model
 * @param baseFingerprint {@code sha256:...} of the base that the blocks are encoded against
 * @param task name under which the tenant keeps versions of this fine-tune
 * @param edge l of the l x l blocks
 * @param createdAt ISO-8601 instant
 * @param job id of the tuning job
 * @param hyperparameters as the job ran with them
 * @param dataDigest {@code sha256:...} of the training file
 * @param metrics losses and the like, by name
 * @param code version of Inlay that trained it
 * @param values trained values in all blocks and whole tensors
 * @param blockDigests per tensor {@code sha256:...} of its decoded blocks' bytes, in the order of the file
 * @param digest logical digest: SHA-256 over {@code tensor TAB edge TAB coordinates TAB blockDigest LF} of all tensors that have blocks,
 *        sorted by name, then {@code tensor TAB whole TAB shape TAB tensorDigest LF} of all whole ones, sorted by name
 * @param tensorDigests per whole tensor {@code sha256:...} of its values' bytes; not written when there is none
 * @param parents the versions that it was made of, {@code base:task@number sha256:...}; not written when a job trained it
 */
public record DeltaManifest(int formatVersion, String base, String baseFingerprint, String task, int edge, String createdAt, String job,
        SortedMap<String, String> hyperparameters, String dataDigest, SortedMap<String, Double> metrics, String code, long values,
        SortedMap<String, String> blockDigests, String digest,
        @JsonInclude(JsonInclude.Include.NON_EMPTY) SortedMap<String, String> tensorDigests,
        @JsonInclude(JsonInclude.Include.NON_EMPTY) List<String> parents) {

    /** Of deltas that have blocks only, which every Inlay reads. */
    public static final int FORMAT_VERSION = 1;

    /** Of deltas that have whole tensors. */
    public static final int WHOLE_TENSORS_VERSION = 2;

    /** Keys in the file's {@code __metadata__}. */
    static final String FORMAT_KEY = "format";
    static final String FORMAT = "inlay-delta";
    static final String MANIFEST_KEY = "manifest";

    private static final ObjectMapper JSON = JsonMapper.builder(JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(8).build()).build())
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES).build();

    public DeltaManifest {
        hyperparameters = hyperparameters == null ? new TreeMap<>() : new TreeMap<>(hyperparameters);
        metrics = metrics == null ? new TreeMap<>() : new TreeMap<>(metrics);
        blockDigests = blockDigests == null ? new TreeMap<>() : new TreeMap<>(blockDigests);
        tensorDigests = tensorDigests == null ? new TreeMap<>() : new TreeMap<>(tensorDigests);
        parents = parents == null ? List.of() : List.copyOf(parents);
    }

    /** What is known before encoding; {@link DeltaFile} adds counts and digests. */
    public static DeltaManifest draft(String base, String baseFingerprint, String task, int edge, String createdAt, String job,
            Map<String, String> hyperparameters, String dataDigest, Map<String, Double> metrics, String code) {
        return new DeltaManifest(FORMAT_VERSION, base, baseFingerprint, task, edge, createdAt, job, new TreeMap<>(hyperparameters),
                dataDigest, new TreeMap<>(metrics), code, 0, new TreeMap<>(), "", new TreeMap<>(), List.of());
    }

    /** The same, made of other versions. */
    public DeltaManifest of(List<String> versions) {
        return new DeltaManifest(formatVersion, base, baseFingerprint, task, edge, createdAt, job, hyperparameters, dataDigest, metrics, code,
                values, blockDigests, digest, tensorDigests, versions);
    }

    DeltaManifest with(long countedValues, SortedMap<String, String> ofBlocks, SortedMap<String, String> ofTensors, String logicalDigest) {
        return new DeltaManifest(version(ofTensors), base, baseFingerprint, task, edge, createdAt, job, hyperparameters, dataDigest, metrics,
                code, countedValues, ofBlocks, logicalDigest, ofTensors, parents);
    }

    private static int version(Map<String, String> tensorDigests) {
        return tensorDigests.isEmpty() ? FORMAT_VERSION : WHOLE_TENSORS_VERSION;
    }

    Map<String, String> toMetadata() {
        try {
            return new TreeMap<>(Map.of(FORMAT_KEY, FORMAT, MANIFEST_KEY, JSON.writeValueAsString(this)));
        } catch (JsonProcessingException impossible) {
            throw new AssertionError("a manifest is plain data", impossible);
        }
    }

    /** Reads {@code __metadata__}; {@code label} names the file in refusals. */
    static DeltaManifest ofMetadata(Map<String, String> metadata, String label) {
        if (!FORMAT.equals(metadata.get(FORMAT_KEY)) || metadata.get(MANIFEST_KEY) == null) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " is no delta of Inlay's: its metadata has no format '" + FORMAT + "'");
        }
        DeltaManifest manifest;
        try {
            manifest = JSON.readValue(metadata.get(MANIFEST_KEY), DeltaManifest.class);
        } catch (JsonProcessingException malformed) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a malformed manifest: " + malformed.getOriginalMessage(), malformed);
        }
        if (manifest == null || manifest.formatVersion() < FORMAT_VERSION || manifest.formatVersion() > WHOLE_TENSORS_VERSION) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " is of format version "
                    + (manifest == null ? "none" : manifest.formatVersion()) + "; this Inlay reads versions " + FORMAT_VERSION + " and "
                    + WHOLE_TENSORS_VERSION + ", use the one that wrote it or a newer one");
        }
        if (manifest.formatVersion() != version(manifest.tensorDigests())) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " is of format version " + manifest.formatVersion() + " and names "
                    + manifest.tensorDigests().size() + " whole tensors; version " + WHOLE_TENSORS_VERSION + " has some, version "
                    + FORMAT_VERSION + " none");
        }
        if (manifest.baseFingerprint() == null || manifest.digest() == null || manifest.edge() <= 0) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has a manifest without base fingerprint, digest or edge");
        }
        return manifest;
    }
}
