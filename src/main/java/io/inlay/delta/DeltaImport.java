package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/**
 * A delta that comes from elsewhere, read like an attack: decoded and verified as any other, and beyond that all that a tuning job of our own
 * would not have written is refused. Digests tell damage, not intent: whoever makes a file makes its digests too.
 */
public final class DeltaImport {

    /** Longest text of a manifest, and most entries of a list in it. */
    private static final int LONGEST = 512;
    private static final int MOST = 256;

    private DeltaImport() {
    }

    /**
     * Decodes a delta into memory of the arena.
     *
     * @throws Problem {@code BASE_MISMATCH} or {@code CORRUPT_DELTA}
     */
    public static DeltaFile.Decoded decode(MemorySegment file, String label, String baseFingerprint, BaseMatrices base, Arena arena) {
        requireOrdinary(DeltaFile.manifest(file, label), label);
        DeltaFile.Decoded decoded = DeltaFile.decode(file, label, baseFingerprint, base, arena);
        List<TensorBlocks> blocks = decoded.blocks();
        List<WholeTensor> tensors = decoded.tensors();
        InParallel.forEach(blocks.size(), i -> requireFinite(blocks.get(i).tensor(), AnyThread.view(blocks.get(i).values()), label));
        InParallel.forEach(tensors.size(), i -> requireFinite(tensors.get(i).tensor(), AnyThread.view(tensors.get(i).values()), label));
        long values = decoded.blocks().stream().mapToLong(TensorBlocks::count).sum()
                + decoded.tensors().stream().mapToLong(WholeTensor::count).sum();
        if (values == 0 || values != decoded.manifest().values()) {
            throw refusal(label, "has " + values + " values, its manifest states " + decoded.manifest().values());
        }
        return decoded;
    }

    private static void requireOrdinary(DeltaManifest manifest, String label) {
        try {
            Instant.parse(String.valueOf(manifest.createdAt()));
        } catch (DateTimeException malformed) {
            throw refusal(label, "has a manifest whose createdAt is no ISO-8601 instant");
        }
        requireText("base", manifest.base(), label);
        requireText("task", manifest.task(), label);
        requireText("job", manifest.job(), label);
        requireText("code", manifest.code(), label);
        requireText("dataDigest", manifest.dataDigest(), label);
        if (manifest.hyperparameters().size() > MOST || manifest.metrics().size() > MOST) {
            throw refusal(label, "has a manifest of more than " + MOST + " hyperparameters or metrics");
        }
        manifest.hyperparameters().forEach((name, value) -> {
            requireText("hyperparameter", name, label);
            requireText(name, value, label);
        });
        for (Map.Entry<String, Double> metric : manifest.metrics().entrySet()) {
            requireText("metric", metric.getKey(), label);
            if (metric.getValue() == null || !Double.isFinite(metric.getValue())) {
                throw refusal(label, "has a manifest whose metric '" + metric.getKey() + "' is no finite number");
            }
        }
    }

    private static void requireText(String what, String text, String label) {
        if (text == null || text.length() > LONGEST || text.chars().anyMatch(Character::isISOControl)) {
            throw refusal(label, "has a manifest whose " + what + " is missing, longer than " + LONGEST + " characters, or not printable");
        }
    }

    private static void requireFinite(String tensor, MemorySegment values, String label) {
        for (long i = 0; i < values.byteSize(); i += 2) {
            if ((values.get(ValueLayout.JAVA_SHORT_UNALIGNED, i) & 0x7F80) == 0x7F80) {
                throw refusal(label, "has " + tensor + " with a value that is not finite, at " + i / 2 + "; it would make every answer "
                        + "nonsense");
            }
        }
    }

    private static Problem refusal(String label, String what) {
        return new Problem(Problem.Code.CORRUPT_DELTA, label + " " + what);
    }
}
