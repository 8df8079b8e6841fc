package io.inlay.delta;

import io.inlay.Problem;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A delta as one safetensors file: per tensor {@code <tensor>.blocks} I32 [n, 2] and {@code <tensor>.payload} U8, per whole tensor
 * {@code <tensor>.whole} U8, and the manifest in {@code __metadata__}. Same input, same bytes. Formats to the byte: model-store/README.md.
 */
public final class DeltaFile {

    /** The largest edge that a file may have; it bounds what a decoder allocates. */
    static final int MAX_EDGE = 1024;

    private static final long PIECE = 1 << 20;
    private static final String BLOCKS = ".blocks";
    private static final String PAYLOAD = ".payload";
    private static final String WHOLE = ".whole";

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
        List<TensorBlocks> sorted = blocks.stream().sorted(Comparator.comparing(TensorBlocks::tensor)).map(AnyThread::view).toList();
        List<WholeTensor> sortedTensors = tensors.stream().sorted(Comparator.comparing(WholeTensor::tensor)).map(AnyThread::view).toList();
        requireStorable(draft, sorted, sortedTensors);
        Part[] parts = new Part[sorted.size() + sortedTensors.size()];
        try (Codecs codecs = new Codecs()) {
            InParallel.forEach(parts.length, i -> parts[i] = i < sorted.size() ? part(sorted.get(i), base, codecs)
                    : part(sortedTensors.get(i - sorted.size()), base, codecs));
        }
        SortedMap<String, String> digests = new TreeMap<>();
        SafetensorsLayout layout = new SafetensorsLayout();
        List<byte[]> data = new ArrayList<>();
        long values = 0;
        for (TensorBlocks each : sorted) {
            Part part = parts[data.size() / 2];
            digests.put(each.tensor(), part.digest());
            byte[] coordinates = coordinates(each);
            layout.add(each.tensor() + BLOCKS, "I32", new long[] {each.coordinates().size(), 2}, coordinates.length);
            layout.add(each.tensor() + PAYLOAD, "U8", new long[] {part.payload().length}, part.payload().length);
            data.add(coordinates);
            data.add(part.payload());
            values += each.count();
        }
        SortedMap<String, String> tensorDigests = new TreeMap<>();
        for (WholeTensor each : sortedTensors) {
            Part part = parts[sorted.size() + tensorDigests.size()];
            tensorDigests.put(each.tensor(), part.digest());
            layout.add(each.tensor() + WHOLE, "U8", new long[] {part.payload().length}, part.payload().length);
            data.add(part.payload());
            values += each.count();
        }
        DeltaManifest manifest = draft.with(values, digests, tensorDigests,
                Digests.logical(sorted, digests, sortedTensors, tensorDigests));
        data.addFirst(layout.metadata(manifest.toMetadata()).header());
        return new Encoded(manifest, data);
    }

    /** What is encoded of one tensor, apart from the others. */
    private record Part(String digest, byte[] payload) {
    }

    private static Part part(TensorBlocks blocks, BaseMatrices base, Codecs codecs) {
        BaseMatrices.Matrix matrix = matrix(base, blocks.tensor(), blocks.rows(), blocks.columns());
        return new Part(Digests.of(blocks.values()), BlockPayload.encode(blocks, AnyThread.view(matrix), codecs));
    }

    private static Part part(WholeTensor tensor, BaseMatrices base, Codecs codecs) {
        WholeTensor under = whole(base, tensor.tensor(), tensor.shape());
        return new Part(Digests.of(tensor.values()), WholePayload.encode(tensor, AnyThread.view(under), codecs));
    }

    private static void requireStorable(DeltaManifest draft, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
        Set<String> names = new HashSet<>();
        for (TensorBlocks each : blocks) {
            if (each.edge() != draft.edge() || each.edge() > MAX_EDGE) {
                throw new IllegalArgumentException(each.tensor() + " has blocks of edge " + each.edge() + ", the manifest says "
                        + draft.edge() + "; at most " + MAX_EDGE + " can be stored");
            }
        }
        Stream.concat(blocks.stream().map(TensorBlocks::tensor), tensors.stream().map(WholeTensor::tensor)).forEach(name -> {
            if (!names.add(name)) {
                throw new IllegalArgumentException(name + " is given twice");
            }
        });
    }

    static byte[] coordinates(TensorBlocks blocks) {
        ByteBuffer bytes = ByteBuffer.allocate(8 * blocks.coordinates().size()).order(ByteOrder.LITTLE_ENDIAN);
        blocks.coordinates().forEach(at -> bytes.putInt(at.row()).putInt(at.column()));
        return bytes.array();
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

    /** Writes a file's bytes as they are, a piece at a time; the stream stays open. */
    public static void write(MemorySegment file, OutputStream out) throws IOException {
        for (long at = 0; at < file.byteSize(); at += PIECE) {
            out.write(file.asSlice(at, Math.min(PIECE, file.byteSize() - at)).toArray(ValueLayout.JAVA_BYTE));
        }
    }

    /** The manifest alone; checks the header but reads no payload. */
    public static DeltaManifest manifest(MemorySegment file, String label) {
        return manifest(file, file.byteSize(), label);
    }

    /** The manifest of a file of {@code fileBytes}, of which {@code beginning} has the header whole. */
    public static DeltaManifest manifest(MemorySegment beginning, long fileBytes, String label) {
        return DeltaManifest.ofMetadata(SafetensorsHeader.read(beginning, fileBytes, label, Problem.Code.CORRUPT_DELTA).metadata(), label);
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
        MemorySegment bytes = AnyThread.view(file);
        List<TensorBlocks> blocks = new ArrayList<>();
        List<WholeTensor> tensors = new ArrayList<>();
        try (Codecs codecs = new Codecs()) {
            List<Runnable> work = new ArrayList<>();
            manifest.blockDigests().forEach((tensor, digest) -> {
                SafetensorsHeader.Entry payload = decodePlaces(file, label, manifest.edge(), tensor, entries, base, arena, blocks);
                TensorBlocks target = AnyThread.view(blocks.getLast());
                work.add(() -> fill(target, bytes.asSlice(payload.begin(), payload.bytes()), digest, base, codecs, label));
            });
            manifest.tensorDigests().forEach((tensor, digest) -> {
                if (manifest.blockDigests().containsKey(tensor)) {
                    throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has " + tensor + " both in blocks and whole");
                }
                SafetensorsHeader.Entry payload = wholeEntry(label, tensor, entries);
                WholeTensor under = whole(base, tensor, null);
                tensors.add(new WholeTensor(tensor, under.shape(), arena.allocate(2 * under.count(), 64)));
                WholeTensor target = AnyThread.view(tensors.getLast());
                work.add(() -> fill(target, bytes.asSlice(payload.begin(), payload.bytes()), digest, base, codecs, label));
            });
            if (!entries.isEmpty()) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has tensors that its manifest does not name: " + entries.keySet());
            }
            InParallel.forEach(work.size(), i -> work.get(i).run());
        }
        if (!Digests.logical(blocks, manifest.blockDigests(), tensors, manifest.tensorDigests()).equals(manifest.digest())) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": block places do not match the manifest's digest; the file is damaged");
        }
        return new Decoded(manifest, blocks, tensors);
    }

    /** Decodes and verifies a tensor's blocks. */
    private static void fill(TensorBlocks target, MemorySegment payload, String digest, BaseMatrices base, Codecs codecs,
            String label) {
        String where = label + ": " + target.tensor();
        BlockPayload.decode(payload, target.coordinates(), AnyThread.view(matrix(base, target.tensor(), 0, 0)), target.edge(),
                target.values(), codecs, where);
        if (!Digests.of(target.values()).equals(digest)) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": the blocks of " + target.tensor()
                    + " do not match their digest; the file is damaged, restore it from a copy");
        }
    }

    private static void fill(WholeTensor target, MemorySegment payload, String digest, BaseMatrices base, Codecs codecs,
            String label) {
        String where = label + ": " + target.tensor();
        WholePayload.decode(payload, AnyThread.view(whole(base, target.tensor(), null)), target.values(), codecs, where);
        if (!Digests.of(target.values()).equals(digest)) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": the values of " + target.tensor()
                    + " do not match their digest; the file is damaged, restore it from a copy");
        }
    }

    private static SafetensorsHeader.Entry wholeEntry(String label, String tensor, Map<String, SafetensorsHeader.Entry> entries) {
        SafetensorsHeader.Entry payload = entries.remove(tensor + WHOLE);
        if (payload == null || !payload.dtype().equals("U8")) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, label + ": " + tensor + " lacks its .whole (U8)");
        }
        return payload;
    }

    /** Adds the tensor's places with memory for their values to {@code blocks}; returns where the values are. */
    private static SafetensorsHeader.Entry decodePlaces(MemorySegment file, String label, int edge, String tensor,
            Map<String, SafetensorsHeader.Entry> entries, BaseMatrices base, Arena arena, List<TensorBlocks> blocks) {
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
        blocks.add(new TensorBlocks(tensor, matrix.rows(), matrix.columns(), edge, coordinates, values));
        return payload;
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
}
