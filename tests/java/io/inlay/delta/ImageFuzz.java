package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Fuzzes the importer of OCI layouts. An input that begins with an even byte is an archive; of others the rest is a script
 * ({@link Attacks#archive}), so that files get right checksums and blobs right digests, and what they hold is reached.
 */
public final class ImageFuzz {

    private ImageFuzz() {
    }

    /** Loads and instruments what an input reaches, which on a busy machine takes longer than an input may. */
    public static void fuzzerInitialize() {
        fuzzerTestOneInput(new byte[] {1, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        Attacks.delta();
    }

    public static void fuzzerTestOneInput(byte[] input) {
        if (input.length < 1) {
            return;
        }
        byte[] rest = Arrays.copyOfRange(input, 1, input.length);
        byte[] archive = (input[0] & 1) == 0 ? rest : Attacks.archive(rest);
        MemorySegment delta;
        try {
            delta = OciLayout.read(MemorySegment.ofArray(archive), "fuzzed");
        } catch (Problem refused) {
            HeaderFuzz.requireMessage(refused);
            return;
        }
        if (delta.byteSize() > archive.length) {
            throw new AssertionError("a layer of " + delta.byteSize() + " bytes in an archive of " + archive.length);
        }
        DeltaFuzz.decode(delta.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE), true);
    }
}
