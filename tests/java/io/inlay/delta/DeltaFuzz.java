package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Fuzzes the delta decoder. An input that begins with an even byte is a file; of others the rest is the data and the second byte says which
 * of the seeds' headers it gets, so that payloads are reached whatever their digests.
 */
public final class DeltaFuzz {

    private DeltaFuzz() {
    }

    /** Loads and instruments what an input reaches, which on a busy machine takes longer than an input may. */
    public static void fuzzerInitialize() {
        fuzzerTestOneInput(new byte[] {1, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        Attacks.delta();
    }

    public static void fuzzerTestOneInput(byte[] input) {
        if (input.length < 2) {
            return;
        }
        decode(Arrays.copyOfRange(input, 2, input.length), false);
        decode(Attacks.withHeaderOf(input[1] & 0xFF, Arrays.copyOfRange(input, 2, input.length)), true);
    }

    static void decode(byte[] file, boolean imported) {
        MemorySegment bytes = MemorySegment.ofArray(file);
        try (Arena arena = Arena.ofConfined()) {
            DeltaFile.Decoded decoded = imported ? DeltaImport.decode(bytes, "fuzzed", Deltas.FINGERPRINT, FuzzedBase.BASE, arena)
                    : DeltaFile.decode(bytes, "fuzzed", Deltas.FINGERPRINT, FuzzedBase.BASE, arena);
            DeltaFile.Encoded again = DeltaFile.encode(decoded.manifest(), decoded.blocks(), decoded.tensors(), FuzzedBase.BASE);
            if (!again.manifest().digest().equals(decoded.manifest().digest())) {
                throw new AssertionError("what was decoded has another digest");
            }
        } catch (Problem refused) {
            HeaderFuzz.requireMessage(refused);
        }
    }
}
