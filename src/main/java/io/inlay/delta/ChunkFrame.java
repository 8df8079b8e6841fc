package io.inlay.delta;

import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A chunk as it stands in a payload: 8 bytes of header (form, blocks in it, two zeros, length), then the form's bytes.
 *
 * @param begin of the form's bytes, in the payload
 * @param length of them
 */
record ChunkFrame(BlockCodec.Form form, long begin, int length) {

    private static final int HEADER = 8;

    /** @param blocks in the chunk; 0 in a whole tensor's payload */
    static void write(ByteArrayOutputStream out, BlockCodec.Chunk chunk, int blocks) {
        ByteBuffer head = ByteBuffer.allocate(HEADER).order(ByteOrder.LITTLE_ENDIAN).put((byte) chunk.form().ordinal()).put((byte) blocks)
                .putShort((short) 0).putInt(chunk.bytes().length);
        out.writeBytes(head.array());
        out.writeBytes(chunk.bytes());
    }

    /**
     * Reads and checks the header of the chunk at {@code at}.
     *
     * @param blocks that it must say it has
     * @param values that it must decode to
     * @param where file and tensor, for refusals
     * @param first what the chunk begins with, for refusals: {@code block 16}
     */
    static ChunkFrame read(MemorySegment payload, long at, int blocks, long values, String where, String first) {
        if (payload.byteSize() - at < HEADER) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has a payload that ends before " + first);
        }
        ByteBuffer head = ByteBuffer.wrap(payload.asSlice(at, HEADER).toArray(ValueLayout.JAVA_BYTE)).order(ByteOrder.LITTLE_ENDIAN);
        int form = head.get();
        int said = head.get();
        int reserved = head.getShort();
        long bytes = Integer.toUnsignedLong(head.getInt());
        if (form < 0 || form >= BlockCodec.Form.values().length || said != blocks || reserved != 0
                || bytes > payload.byteSize() - at - HEADER || bytes > 2 * values) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has a malformed chunk at " + first);
        }
        return new ChunkFrame(BlockCodec.Form.values()[form], at + HEADER, Math.toIntExact(bytes));
    }

    /** Where the next chunk begins. */
    long end() {
        return begin + length;
    }

    /** Fills {@code values} with what the chunk decodes to. */
    void decode(BlockCodec codec, MemorySegment payload, short[] base, short[] values, String where) {
        byte[] bytes = codec.frame(length);
        MemorySegment.copy(payload, ValueLayout.JAVA_BYTE, begin, bytes, 0, length);
        codec.decode(form, bytes, length, base, values, where);
    }

    /** Refuses a payload that goes on behind its last chunk. */
    static void requireEnd(MemorySegment payload, long at, String where) {
        if (at != payload.byteSize()) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has " + (payload.byteSize() - at) + " bytes behind its last chunk");
        }
    }
}
