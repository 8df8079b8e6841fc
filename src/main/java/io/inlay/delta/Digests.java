package io.inlay.delta;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** The digests of a delta, {@code sha256:} and 64 hexadecimal digits. */
final class Digests {

    /** A buffer has at most 2 GiB. */
    private static final long PIECE = 1 << 30;

    private Digests() {
    }

    /** Of values as they lie in memory. */
    static String of(MemorySegment values) {
        MessageDigest digest = sha256();
        for (long at = 0; at < values.byteSize(); at += PIECE) {
            digest.update(values.asSlice(at, Math.min(PIECE, values.byteSize() - at)).asByteBuffer());
        }
        return text(digest);
    }

    /** The delta's identity; see {@link DeltaManifest}. */
    static String logical(List<TensorBlocks> sorted, Map<String, String> digests, List<WholeTensor> tensors,
            Map<String, String> tensorDigests) {
        MessageDigest digest = sha256();
        for (TensorBlocks each : sorted) {
            String line = each.tensor() + "\t" + each.edge() + "\t" + each.coordinates() + "\t" + digests.get(each.tensor()) + "\n";
            digest.update(line.getBytes(StandardCharsets.UTF_8));
        }
        for (WholeTensor each : tensors) {
            String line = each.tensor() + "\twhole\t" + Arrays.toString(each.shape()) + "\t" + tensorDigests.get(each.tensor()) + "\n";
            digest.update(line.getBytes(StandardCharsets.UTF_8));
        }
        return text(digest);
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }

    static String text(MessageDigest digest) {
        return "sha256:" + HexFormat.of().formatHex(digest.digest());
    }
}
