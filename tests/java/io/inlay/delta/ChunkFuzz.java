package io.inlay.delta;

import io.inlay.Problem;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Fuzzes the codec: an input is a form and a chunk's bytes; then it is values and a base, which must come back from every form. */
public final class ChunkFuzz {

    private static final int VALUES = 256;

    private ChunkFuzz() {
    }

    public static void fuzzerTestOneInput(byte[] input) {
        if (input.length < 1) {
            return;
        }
        try (BlockCodec codec = new BlockCodec()) {
            BlockCodec.Form form = BlockCodec.Form.values()[(input[0] & 0xFF) % BlockCodec.Form.values().length];
            byte[] bytes = Arrays.copyOfRange(input, 1, input.length);
            short[] base = new short[VALUES];
            for (int i = 0; i < VALUES; i++) {
                base[i] = (short) (i * 0x9E37);
            }
            try {
                codec.decode(form, bytes, bytes.length, base, new short[VALUES], "fuzzed");
            } catch (Problem refused) {
                HeaderFuzz.requireMessage(refused);
            }
            ByteBuffer halves = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            int n = bytes.length / 4;
            short[] values = new short[n];
            short[] under = new short[n];
            for (int i = 0; i < n; i++) {
                values[i] = halves.getShort();
                under[i] = halves.getShort();
            }
            for (BlockCodec.Chunk chunk : new BlockCodec.Chunk[] {codec.encode(form, values, under), codec.encode(values, under)}) {
                short[] back = new short[n];
                codec.decode(chunk.form(), chunk.bytes(), chunk.bytes().length, under, back, "encoded");
                if (!Arrays.equals(back, values)) {
                    throw new AssertionError(chunk.form() + " gave other values back");
                }
            }
        }
    }
}
