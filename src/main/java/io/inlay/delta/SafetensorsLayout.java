package io.inlay.delta;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;

/** The header of a safetensors file to be written: tensors back to back in the order in which they are added, metadata first. */
public final class SafetensorsLayout {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final ObjectNode header = JSON.createObjectNode();
    private final ObjectNode metadata = header.putObject("__metadata__");
    private long bytes;

    public SafetensorsLayout add(String name, String dtype, long[] shape, long size) {
        ObjectNode entry = header.putObject(name).put("dtype", dtype);
        entry.putArray("shape");
        for (long each : shape) {
            entry.withArray("shape").add(each);
        }
        entry.putArray("data_offsets").add(bytes).add(bytes + size);
        bytes += size;
        return this;
    }

    public SafetensorsLayout metadata(Map<String, String> entries) {
        entries.forEach(metadata::put);
        return this;
    }

    /** The header's length and the header, padded with spaces to a multiple of 8. */
    public byte[] header() {
        try {
            byte[] json = JSON.writeValueAsBytes(header);
            int padded = (json.length + 7) / 8 * 8;
            ByteBuffer all = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(json);
            while (all.hasRemaining()) {
                all.put((byte) ' ');
            }
            return all.array();
        } catch (JsonProcessingException impossible) {
            throw new AssertionError("a header is plain data", impossible);
        }
    }

    /** Of the tensors, without the header. */
    public long dataBytes() {
        return bytes;
    }
}
