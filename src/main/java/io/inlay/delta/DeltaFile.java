package io.inlay.delta;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A delta as one safetensors file: per tensor {@code <tensor>.blocks} I32 [n, 2] and {@code <tensor>.payload} U8, per whole tensor
 * {@code <tensor>.whole} U8, and the manifest in {@code __metadata__}. Same input, same bytes. Formats to the byte: model-store/README.md.
 */
public final class DeltaFile {

    /** Blocks that are compressed together at most. */
    static final int CHUNK_BLOCKS = 16;

    /** The largest edge that a file may have; it bounds what a decoder allocates. */
    static final int MAX_EDGE = 1024;

    private static final String BLOCKS = ".blocks";
    private static final String PAYLOAD = ".payload";
    private static final String WHOLE = ".whole";
    private static final ObjectMapper JSON = new ObjectMapper();

    private DeltaFile() {
    }

    /**
     * An encoded delta.
     *
     * @param manifest with counts and digests
     * @param parts the file's bytes, in order
     */
    public record Encoded(DeltaManifest manifest, List<byte[]> parts) {

        public long bytes() {
            return parts.stream().mapToLong(part -> part.length).sum();
        }
    }

    /** A delta read back: its manifest, its blocks and its whole tensors, in the arena's memory. */
    public record Decoded(DeltaManifest manifest, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
    }

    /** Encodes a delta that has blocks only. */
    public static Encoded encode(DeltaManifest draft, List<TensorBlocks> blocks, BaseMatrices base) {
        return encode(draft, blocks, List.of(), base);
    }

    /**
     * Encodes blocks and whole tensors against their base.
     *
     * @throws Problem {@code BASE_MISMATCH} when the base lacks a tensor or has it in another shape
     */
    public static Encoded encode(DeltaManifest draft, List<TensorBlocks> blocks, List<WholeTensor> tensors, BaseMatrices base) {
        List<TensorBlocks> sorted = blocks.stream().sorted(Comparator.comparing(TensorBlocks::tensor)).toList();
        SortedMap<String, String> digests = new TreeMap<>();
        ObjectNode header = JSON.createObjectNode();
        List<byte[]> data = new ArrayList<>();
        long offset = 0;
        long values = 0;
        ObjectNode metadata = header.putObject("__metadata__");
        for (TensorBlocks each : sorted) {
            if (each.edge() != draft.edge() || each.edge() > MAX_EDGE) {
                throw new IllegalArgumentException(each.tensor() + " has blocks of edge " + each.edge() + ", the manifest says "
                        + draft.edge() + "; at most " + MAX_EDGE + " can be stored");
            }
            if (digests.put(each.tensor(), blockDigest(each)) != null) {
                throw new IllegalArgumentException(each.tensor() + " is given twice");
            }
            byte[] coordinates = coordinates(each);
            byte[] payload = payload(each, matrix(base, each.tensor(), each.rows(), each.columns()));
            offset = describe(header, each.tensor() + BLOCKS, "I32", new long[] {each.coordinates().size(), 2}, offset, coordinates.length);
            offset = describe(header, each.tensor() + PAYLOAD, "U8", new long[] {payload.length}, offset, payload.length);
            data.add(coordinates);
            data.add(payload);
            values += each.count();
        }
        List<WholeTensor> sortedTensors = tensors.stream().sorted(Comparator.comparing(WholeTensor::tensor)).toList();
        SortedMap<String, String> tensorDigests = new TreeMap<>();
        for (WholeTensor each : sortedTensors) {
            if (digests.containsKey(each.tensor()) || tensorDigests.put(each.tensor(), tensorDigest(each)) != null) {
                throw new IllegalArgumentException(each.tensor() + " is given twice");
            }
            byte[] payload = WholePayload.encode(each, whole(base, each.tensor(), each.shape()));
            offset = describe(header, each.tensor() + WHOLE, "U8", new long[] {payload.length}, offset, payload.length);
            data.add(payload);
            values += each.count();
        }
        DeltaManifest manifest = draft.with(values, digests, tensorDigests,
                logicalDigest(sorted, digests, sortedTensors, tensorDigests));
        manifest.toMetadata().forEach(metadata::put);
        List<byte[]> parts = new ArrayList<>();
        parts.add(headerBytes(header));
        parts.addAll(data);
        return new Encoded(manifest, parts);
    }

    private static long describe(ObjectNode header, String name, String dtype, long[] shape, long offset, long bytes) {
        ObjectNode entry = header.putObject(name);
        entry.put("dtype", dtype);
        for (long size : shape) {
            entry.withArray("shape").add(size);
        }
        entry.putArray("data_offsets").add(offset).add(offset + bytes);
        return offset + bytes;
    }

    private static byte[] headerBytes(ObjectNode header) {
        try {
            byte[] json = JSON.writeValueAsBytes(header);
            int padded = (json.length + 7) / 8 * 8;
            ByteBuffer bytes = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(json);
            while (bytes.hasRemaining()) {
                bytes.put((byte) ' ');
            }
            return bytes.array();
        } catch (JsonProcessingException impossible) {
            throw new AssertionError("a header is plain data", impossible);
        }
    }

    private static byte[] coordinates(TensorBlocks blocks) {
        ByteBuffer bytes = ByteBuffer.allocate(8 * blocks.coordinates().size()).order(ByteOrder.LITTLE_ENDIAN);
        blocks.coordinates().forEach(at -> bytes.putInt(at.row()).putInt(at.column()));
        return bytes.array();
    }

    private static byte[] payload(TensorBlocks blocks, BaseMatrices.Matrix base) {
        int square = blocks.edge() * blocks.edge();
        int count = blocks.coordinates().size();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (int first = 0; first < count; first += CHUNK_BLOCKS) {
            int length = Math.min(CHUNK_BLOCKS, count - first);
            short[] values = new short[length * square];
            MemorySegment.copy(blocks.values(), ValueLayout.JAVA_SHORT_UNALIGNED, 2L * first * square, values, 0, values.length);
            BlockCodec.Chunk chunk = BlockCodec.encode(values, baseValues(base, blocks.coordinates(), first, length, blocks.edge()));
            ChunkFrame.write(out, chunk, length);
        }
        return out.toByteArray();
    }

    private static short[] baseValues(BaseMatrices.Matrix base, List<BlockCoordinate> coordinates, int first, int length, int edge) {
        short[] values = new short[length * edge * edge];
        for (int k = 0; k < length; k++) {
            BlockCoordinate at = coordinates.get(first + k);
            for (int row = 0; row < edge; row++) {
                long source = ((long) at.row() * edge + row) * base.columns() + (long) at.column() * edge;
                MemorySegment.copy(base.bits(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * source, values, (k * edge + row) * edge, edge);
            }
        }
        return values;
    }

    private static BaseMatrices.Matrix matrix(BaseMatrices base, String tensor, int rows, int columns) {
        BaseMatrices.Matrix matrix = base.matrix(tensor);
        if (matrix == null || (rows > 0 && (matrix.rows() != rows || matrix.columns() != columns))) {
            throw new Problem(Problem.Code.BASE_MISMATCH, "the base has " + (matrix == null ? "no tensor " + tensor
                    : tensor + " of " + matrix.rows() + " x " + matrix.columns() + ", the delta of " + rows + " x " + columns)
                    + "; the delta is of another base");
        }
        return matrix;
    }

    /** The base's tensor, which must have the shape where one is given. */
    private static WholeTensor whole(BaseMatrices base, String tensor, long[] shape) {
        WholeTensor whole = base.whole(tensor);
        if (whole == null || (shape != null && !Arrays.equals(whole.shape(), shape))) {
            throw new Problem(Problem.Code.BASE_MISMATCH, "the base has " + (whole == null ? "no tensor " + tensor
                    : tensor + " of " + Arrays.toString(whole.shape()) + ", the delta of " + Arrays.toString(shape))
                    + "; the delta is of another base");
        }
        return whole;
    }

    /** The manifest alone; checks the header but reads no payload. */
    public static DeltaManifest manifest(MemorySegment file, String label) {
        return DeltaManifest.ofMetadata(SafetensorsHeader.read(file, label, Problem.Code.CORRUPT_DELTA).metadata(), label);
    }

    /**
     * Decodes a whole file against its base, into memory of {@code arena}.
     *
     * @param baseFingerprint of the base at hand
     * @param label the file's name, for refusals
     * @throws Problem {@code BASE_MISMATCH} before anything is decoded, {@code CORRUPT_DELTA} naming file and tensor
     */
    public static Decoded decode(MemorySegment file, String label, String baseFingerprint, BaseMatrices base, Arena arena) {
        SafetensorsHeader header = SafetensorsHeader.read(file, label, Problem.Code.CORRUPT_DELTA);
        DeltaManifest manifest = DeltaManifest.ofMetadata(header.metadata(), label);
        if (!manifest.baseFingerprint().equals(baseFingerprint)) {
            throw new Problem(Problem.Code.BASE_MISMATCH, label + " was trained on base " + manifest.baseFingerprint() + ", the base at hand is "
                    + baseFingerprint + "; serve it with the model it was made from");
        }
        if (manifest.edge() > MAX_EDGE) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has blocks of edge " + manifest.edge() + "; at most " + MAX_EDGE);
        }
        Map<String, SafetensorsHeader.Entry> entries = new TreeMap<>();
        header.entries().forEach(entry -> entries.put(entry.name(), entry));
        List<TensorBlocks> blocks = new ArrayList<>();
        for (Map.Entry<String, String> expected : manifest.blockDigests().entrySet()) {
            TensorBlocks decoded = decodeTensor(file, label, manifest.edge(), expected.getKey(), entries, base, arena);
            if (!blockDigest(decoded).equals(expected.getValue())) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": the blocks of " + expected.getKey()
                        + " do not match their digest; the file is damaged, restore it from a copy");
            }
            blocks.add(decoded);
        }
        List<WholeTensor> tensors = new ArrayList<>();
        for (Map.Entry<String, String> expected : manifest.tensorDigests().entrySet()) {
            if (manifest.blockDigests().containsKey(expected.getKey())) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has " + expected.getKey() + " both in blocks and whole");
            }
            WholeTensor decoded = decodeWhole(file, label, expected.getKey(), entries, base, arena);
            if (!tensorDigest(decoded).equals(expected.getValue())) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": the values of " + expected.getKey()
                        + " do not match their digest; the file is damaged, restore it from a copy");
            }
            tensors.add(decoded);
        }
        if (!entries.isEmpty()) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has tensors that its manifest does not name: " + entries.keySet());
        }
        if (!logicalDigest(blocks, manifest.blockDigests(), tensors, manifest.tensorDigests()).equals(manifest.digest())) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": block places do not match the manifest's digest; the file is damaged");
        }
        return new Decoded(manifest, blocks, tensors);
    }

    private static WholeTensor decodeWhole(MemorySegment file, String label, String tensor, Map<String, SafetensorsHeader.Entry> entries,
            BaseMatrices base, Arena arena) {
        String where = label + ": " + tensor;
        SafetensorsHeader.Entry payload = entries.remove(tensor + WHOLE);
        if (payload == null || !payload.dtype().equals("U8")) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " lacks its .whole (U8)");
        }
        return WholePayload.decode(file.asSlice(payload.begin(), payload.bytes()), whole(base, tensor, null), arena, where);
    }

    private static TensorBlocks decodeTensor(MemorySegment file, String label, int edge, String tensor,
            Map<String, SafetensorsHeader.Entry> entries, BaseMatrices base, Arena arena) {
        String where = label + ": " + tensor;
        SafetensorsHeader.Entry places = entries.remove(tensor + BLOCKS);
        SafetensorsHeader.Entry payload = entries.remove(tensor + PAYLOAD);
        if (places == null || payload == null || !places.dtype().equals("I32") || !payload.dtype().equals("U8")
                || places.shape().length != 2 || places.shape()[1] != 2) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " lacks its .blocks (I32 [n, 2]) or its .payload (U8)");
        }
        BaseMatrices.Matrix matrix = matrix(base, tensor, 0, 0);
        if (matrix.rows() % edge != 0 || matrix.columns() % edge != 0) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " is of " + matrix.rows() + " x " + matrix.columns()
                    + ", which blocks of edge " + edge + " do not tile");
        }
        List<BlockCoordinate> coordinates = readCoordinates(file, places, matrix, edge, where);
        MemorySegment values = arena.allocate(2L * edge * edge * coordinates.size(), 64);
        decodePayload(file.asSlice(payload.begin(), payload.bytes()), coordinates, matrix, edge, values, where);
        return new TensorBlocks(tensor, matrix.rows(), matrix.columns(), edge, coordinates, values);
    }

    private static List<BlockCoordinate> readCoordinates(MemorySegment file, SafetensorsHeader.Entry places, BaseMatrices.Matrix matrix,
            int edge, String where) {
        ValueLayout.OfInt i32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
        long grid = (long) (matrix.rows() / edge) * (matrix.columns() / edge);
        if (places.shape()[0] > grid) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has " + places.shape()[0] + " blocks, more than the " + grid + " there are");
        }
        List<BlockCoordinate> coordinates = new ArrayList<>();
        BlockCoordinate previous = null;
        for (long k = 0; k < places.shape()[0]; k++) {
            int row = file.get(i32, places.begin() + 8 * k);
            int column = file.get(i32, places.begin() + 8 * k + 4);
            if (row < 0 || column < 0 || row >= matrix.rows() / edge || column >= matrix.columns() / edge) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has block (" + row + ", " + column + ") outside of it");
            }
            BlockCoordinate at = new BlockCoordinate(row, column);
            if (previous != null && previous.compareTo(at) >= 0) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, where + " has block " + at + " twice or out of order");
            }
            coordinates.add(at);
            previous = at;
        }
        return coordinates;
    }

    private static void decodePayload(MemorySegment payload, List<BlockCoordinate> coordinates, BaseMatrices.Matrix matrix, int edge,
            MemorySegment values, String where) {
        int square = edge * edge;
        long at = 0;
        for (int first = 0; first < coordinates.size(); first += CHUNK_BLOCKS) {
            int length = Math.min(CHUNK_BLOCKS, coordinates.size() - first);
            ChunkFrame chunk = ChunkFrame.read(payload, at, length, (long) length * square, where, "block " + first);
            short[] decoded = new short[length * square];
            BlockCodec.decode(chunk.form(), chunk.bytes(), baseValues(matrix, coordinates, first, length, edge), decoded, where);
            MemorySegment.copy(decoded, 0, values, ValueLayout.JAVA_SHORT_UNALIGNED, 2L * first * square, decoded.length);
            at = chunk.end();
        }
        ChunkFrame.requireEnd(payload, at, where);
    }

    private static String blockDigest(TensorBlocks blocks) {
        MessageDigest digest = sha256();
        for (int k = 0; k < blocks.coordinates().size(); k++) {
            digest.update(blocks.block(k).asByteBuffer());
        }
        return hex(digest);
    }

    private static String tensorDigest(WholeTensor tensor) {
        MessageDigest digest = sha256();
        // A buffer has at most 2 GiB.
        for (long at = 0; at < tensor.values().byteSize(); at += 1 << 30) {
            digest.update(tensor.values().asSlice(at, Math.min(1 << 30, tensor.values().byteSize() - at)).asByteBuffer());
        }
        return hex(digest);
    }

    private static String logicalDigest(List<TensorBlocks> sorted, Map<String, String> digests, List<WholeTensor> tensors,
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
        return hex(digest);
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        }
    }

    private static String hex(MessageDigest digest) {
        return "sha256:" + HexFormat.of().formatHex(digest.digest());
    }
}
