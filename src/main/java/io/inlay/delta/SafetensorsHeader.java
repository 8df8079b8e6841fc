package io.inlay.delta;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of a safetensors file, read strictly: 8 bytes little-endian length n, n bytes of UTF-8 JSON that begins with an opening
 * brace, then the tensors' bytes without gap or overlap to the end of the file (the format's README, "Format" and "Notes").
 *
 * @param entries tensors in the order of their bytes
 * @param metadata {@code __metadata__}, empty when absent
 * @param dataStart where the tensors' bytes begin, from the start of the file
 */
public record SafetensorsHeader(List<Entry> entries, Map<String, String> metadata, long dataStart) {

    /** The reference implementation's bound on the header. */
    public static final long MAX_HEADER_BYTES = 100_000_000;

    private static final String METADATA = "__metadata__";
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(8).maxStringLength(1 << 20).maxNumberLength(20)
                    .maxNameLength(4096).build())
            .build();

    /**
     * One tensor.
     *
     * @param dtype as written: {@code BF16}, {@code I32}, ...
     * @param begin first byte, from the start of the file
     * @param end one past the last byte, from the start of the file
     */
    public record Entry(String name, String dtype, long[] shape, long begin, long end) {

        public long bytes() {
            return end - begin;
        }
    }

    /**
     * Reads and checks the header of a whole file.
     *
     * @param file its bytes; nothing outside is read
     * @param label its name for messages
     * @param code what a refusal is called: {@code CORRUPT_CHECKPOINT} or {@code CORRUPT_DELTA}
     * @throws Problem naming the file, the tensor and what is wrong
     */
    public static SafetensorsHeader read(MemorySegment file, String label, Problem.Code code) {
        return read(file, file.byteSize(), label, code);
    }

    /** Likewise, of a file of {@code fileBytes}, of which {@code file} has the header whole and anything more or nothing more. */
    public static SafetensorsHeader read(MemorySegment file, long fileBytes, String label, Problem.Code code) {
        Refusal refusal = new Refusal(label, code);
        if (fileBytes < 8) {
            throw refusal.of("is " + fileBytes + " bytes; a safetensors file has at least the 8 of its header's length");
        }
        long length = file.get(ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 0);
        if (length < 2 || length > MAX_HEADER_BYTES) {
            throw refusal.of("states a header of " + Long.toUnsignedString(length) + " bytes; it must have 2 to " + MAX_HEADER_BYTES);
        }
        if (length > fileBytes - 8) {
            throw refusal.of("states a header of " + length + " bytes but is only " + fileBytes + " bytes long; it is truncated");
        }
        byte[] header = file.asSlice(8, length).toArray(ValueLayout.JAVA_BYTE);
        if (header[0] != '{') {
            throw refusal.of("has a header that does not begin with '{'");
        }
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(header));
        } catch (CharacterCodingException notUtf8) {
            throw refusal.of("has a header that is not UTF-8");
        }
        return parse(header, 8 + length, fileBytes, refusal);
    }

    private record Refusal(String label, Problem.Code code) {
        Problem of(String what) {
            return new Problem(code, label + " " + what + "; fetch or write the file again");
        }
    }

    private static SafetensorsHeader parse(byte[] header, long dataStart, long fileBytes, Refusal refusal) {
        List<Entry> entries = new ArrayList<>();
        Map<String, String> metadata = new LinkedHashMap<>();
        try (JsonParser parser = JSON.createParser(header)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw refusal.of("has a header that is not a JSON object");
            }
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                if (parser.nextToken() != JsonToken.START_OBJECT) {
                    throw refusal.of("describes tensor '" + name + "' by something other than a JSON object");
                }
                if (name.equals(METADATA)) {
                    readMetadata(parser, metadata, refusal);
                } else {
                    entries.add(readEntry(parser, name, dataStart, fileBytes, refusal));
                }
            }
            if (parser.nextToken() != null) {
                throw refusal.of("has something behind the JSON object of its header");
            }
        } catch (JsonParseException malformed) {
            throw refusal.of("has a malformed header: " + malformed.getOriginalMessage());
        } catch (IOException refused) {
            throw refusal.of("has a header over the limits: " + refused.getMessage());
        }
        entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
        long expected = dataStart;
        for (Entry entry : entries) {
            if (entry.begin() < expected) {
                throw refusal.of("has tensor '" + entry.name() + "' overlapping another");
            }
            if (entry.begin() > expected) {
                throw refusal.of("has a gap of " + (entry.begin() - expected) + " bytes before tensor '" + entry.name() + "'");
            }
            expected = entry.end();
        }
        if (expected != fileBytes) {
            throw refusal.of("has " + (fileBytes - expected) + " bytes that belong to no tensor at its end");
        }
        return new SafetensorsHeader(List.copyOf(entries), Map.copyOf(metadata), dataStart);
    }

    private static void readMetadata(JsonParser parser, Map<String, String> metadata, Refusal refusal) throws IOException {
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String key = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw refusal.of("has metadata '" + key + "' that is not a string");
            }
            metadata.put(key, parser.getText());
        }
    }

    private static Entry readEntry(JsonParser parser, String name, long dataStart, long fileBytes, Refusal refusal) throws IOException {
        String dtype = null;
        long[] shape = null;
        long[] offsets = null;
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String field = parser.currentName();
            JsonToken token = parser.nextToken();
            switch (field) {
                case "dtype" -> {
                    if (token != JsonToken.VALUE_STRING) {
                        throw refusal.of("has tensor '" + name + "' with a dtype that is not a string");
                    }
                    dtype = parser.getText();
                }
                case "shape" -> shape = readNumbers(parser, name, field, refusal);
                case "data_offsets" -> offsets = readNumbers(parser, name, field, refusal);
                default -> throw refusal.of("has tensor '" + name + "' with an unknown field '" + field + "'");
            }
        }
        if (dtype == null || shape == null || offsets == null) {
            throw refusal.of("has tensor '" + name + "' without " + (dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets"));
        }
        if (offsets.length != 2 || offsets[0] > offsets[1] || offsets[1] > fileBytes - dataStart) {
            throw refusal.of("has tensor '" + name + "' with data_offsets " + java.util.Arrays.toString(offsets) + " outside its "
                    + (fileBytes - dataStart) + " bytes of data");
        }
        long bytes = byteSize(dtype, shape, name, refusal);
        if (bytes != offsets[1] - offsets[0]) {
            throw refusal.of("has tensor '" + name + "' of " + dtype + java.util.Arrays.toString(shape) + ", which takes " + bytes
                    + " bytes, with data_offsets of " + (offsets[1] - offsets[0]));
        }
        return new Entry(name, dtype, shape, dataStart + offsets[0], dataStart + offsets[1]);
    }

    private static long[] readNumbers(JsonParser parser, String name, String field, Refusal refusal) throws IOException {
        if (parser.currentToken() != JsonToken.START_ARRAY) {
            throw refusal.of("has tensor '" + name + "' with a " + field + " that is not a list");
        }
        List<Long> numbers = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            boolean integer = parser.currentToken() == JsonToken.VALUE_NUMBER_INT && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
            if (!integer || parser.getLongValue() < 0) {
                throw refusal.of("has tensor '" + name + "' with a " + field + " entry '" + parser.getText()
                        + "' that is not a whole number from 0 to 2^63 - 1");
            }
            numbers.add(parser.getLongValue());
        }
        return numbers.stream().mapToLong(Long::longValue).toArray();
    }

    private static long byteSize(String dtype, long[] shape, String name, Refusal refusal) {
        long bytes = switch (dtype) {
            case "BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0" -> 1;
            case "U16", "I16", "F16", "BF16" -> 2;
            case "U32", "I32", "F32" -> 4;
            case "U64", "I64", "F64" -> 8;
            default -> throw refusal.of("has tensor '" + name + "' of unknown dtype '" + dtype + "'");
        };
        try {
            for (long size : shape) {
                bytes = Math.multiplyExact(bytes, size);
            }
            return bytes;
        } catch (ArithmeticException overflow) {
            throw refusal.of("has tensor '" + name + "' with shape " + java.util.Arrays.toString(shape) + ", more bytes than there can be");
        }
    }
}
