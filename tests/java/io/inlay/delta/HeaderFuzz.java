package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * Fuzzes the safetensors reader. An input that begins with an even byte is a file; of others the rest is a header, which is given the
 * length that it has and as many bytes of data as its second byte says.
 */
public final class HeaderFuzz {

    private HeaderFuzz() {
    }

    public static void fuzzerTestOneInput(byte[] input) {
        if (input.length < 2) {
            return;
        }
        byte[] rest = Arrays.copyOfRange(input, 2, input.length);
        byte[] file = (input[0] & 1) == 0 ? rest : ByteBuffer.allocate(8 + rest.length + (input[1] & 0xFF)).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(rest.length).put(rest).array();
        SafetensorsHeader header;
        try {
            header = SafetensorsHeader.read(MemorySegment.ofArray(file), "fuzzed", Problem.Code.CORRUPT_DELTA);
        } catch (Problem refused) {
            requireMessage(refused);
            return;
        }
        long at = header.dataStart();
        for (SafetensorsHeader.Entry entry : header.entries()) {
            if (entry.begin() != at || entry.end() < at) {
                throw new AssertionError(entry.name() + " lies at " + entry.begin() + ", not at " + at);
            }
            at = entry.end();
        }
        if (at != file.length) {
            throw new AssertionError("tensors end at " + at + " of " + file.length);
        }
    }

    static void requireMessage(Problem refused) {
        if (refused.code() != Problem.Code.CORRUPT_DELTA && refused.code() != Problem.Code.BASE_MISMATCH) {
            throw new AssertionError("refused with " + refused.code(), refused);
        }
        if (refused.getMessage().isBlank() || refused.getMessage().length() > 100_000) {
            throw new AssertionError("a message of " + refused.getMessage().length() + " characters", refused);
        }
    }
}
