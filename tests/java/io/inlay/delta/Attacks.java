package io.inlay.delta;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/** Files that someone might send: a delta and its image as they should be, and every known way to make them wrong. */
final class Attacks {

    private static final byte[] WHOLE = delta();
    private static final Map<String, byte[]> DELTAS = makeDeltas();

    private Attacks() {
    }

    /** A delta of two matrices and a vector over {@link FuzzedBase}. */
    static byte[] delta() {
        DeltaFile.Encoded encoded = encoded();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        encoded.parts().forEach(out::writeBytes);
        return out.toByteArray();
    }

    static DeltaFile.Encoded encoded() {
        try (Arena arena = Arena.ofConfined()) {
            Deltas tuned = new Deltas(arena, 5).with("b.weight", 128, 96).with("a.weight", 64, 64).withVector("n.weight", 48);
            return DeltaFile.encode(Deltas.draft("task", 16), List.of(tuned.tuned("b.weight", 16, 20, 1e-3), tuned.tuned("a.weight", 16, 3, 1e-4)),
                    List.of(tuned.tunedWhole("n.weight", 1e-2)), FuzzedBase.BASE);
        }
    }

    /** The delta as an archive. */
    static byte[] image() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            OciLayout.write(encoded().manifest(), MemorySegment.ofArray(delta()), "base:task@1", out);
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
        return out.toByteArray();
    }

    static String headerText(byte[] file) {
        return new String(file, 8, (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(), StandardCharsets.UTF_8);
    }

    static byte[] data(byte[] file) {
        return Arrays.copyOfRange(file, 8 + (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(), file.length);
    }

    static byte[] file(String header, byte[] data) {
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + data.length).order(ByteOrder.LITTLE_ENDIAN).putLong(text.length).put(text).put(data).array();
    }

    /** The whole delta with its header changed. */
    static byte[] header(UnaryOperator<String> change) {
        String header = headerText(WHOLE);
        String changed = change.apply(header);
        if (changed.equals(header)) {
            throw new AssertionError("nothing was changed");
        }
        return file(changed, data(WHOLE));
    }

    /** Data under the header of the whole delta, overlaid where {@code at} says; what is missing is taken from the whole delta. */
    static byte[] withHeaderOf(int at, byte[] data) {
        byte[] whole = data(WHOLE);
        byte[] mixed = whole.clone();
        int from = at * whole.length / 256;
        System.arraycopy(data, 0, mixed, from, Math.min(data.length, whole.length - from));
        return file(headerText(WHOLE), mixed);
    }

    /** Deltas that must be refused, by the words that the refusal has. */
    static Map<String, byte[]> deltas() {
        return DELTAS;
    }

    private static Map<String, byte[]> makeDeltas() {
        Map<String, byte[]> all = new TreeMap<>();
        byte[] data = data(WHOLE);
        all.put("states a header of 9223372036854775807 bytes", ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(Long.MAX_VALUE)
                .array());
        all.put("states a header of 18446744073709551615 bytes", ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(-1).array());
        all.put("only 64 bytes long; it is truncated", ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).putLong(1000).put((byte) '{')
                .array());
        all.put("by something other than a JSON object", file("{\"a\":" + "[".repeat(100) + "]".repeat(100) + "}", new byte[0]).clone());
        all.put("Duplicate field", header(text -> text.replace("\"a.weight.blocks\"", "\"b.weight.blocks\"")));
        all.put("overlapping another", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                + "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[1,4]}}", new byte[4]));
        all.put("a gap of 1 bytes", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", new byte[2]));
        all.put("more bytes than there can be", file("{\"a\":{\"dtype\":\"BF16\",\"shape\":[4294967296,4294967296],"
                + "\"data_offsets\":[0,0]}}", new byte[0]));
        all.put("entry '-1' that is not a whole number", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,-1]}}", new byte[0]));
        all.put("entry '1e3' that is not a whole number", file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1e3],\"data_offsets\":[0,1000]}}",
                new byte[1000]));
        all.put("is no delta of Inlay's", file("{\"__metadata__\":{\"format\":\"inlay-delta\"}}", new byte[0]));
        all.put("Duplicate field 'edge'", header(text -> text.replace("\\\"edge\\\":16", "\\\"edge\\\":16,\\\"edge\\\":32")));
        all.put("over the limits", file("{\"__metadata__\":{\"format\":\"" + "x".repeat(2 << 20) + "\"}}", new byte[0]));
        all.put("blocks of edge 2147483647; at most", header(text -> text.replace("\\\"edge\\\":16", "\\\"edge\\\":2147483647")));
        all.put("without base fingerprint, digest or edge", header(text -> text.replace("\\\"edge\\\":16", "\\\"edge\\\":-16")));
        all.put("of format version 99", header(text -> text.replace("\\\"formatVersion\\\":2", "\\\"formatVersion\\\":99")));
        all.put("createdAt is no ISO-8601 instant", header(text -> text.replace("2026-01-01T00:00:00Z", "yesterday, in fact!!")));
        all.put("metric 'training_loss' is no finite number", header(text -> text.replace("\\\"training_loss\\\":0.5",
                "\\\"training_loss\\\":\\\"NaN\\\"")));
        all.put("task is missing, longer", header(text -> text.replace("\\\"task\\\":\\\"task\\\"", "\\\"task\\\":\\\"" + "t".repeat(1000) + "\\\"")));
        all.put("its manifest states 7", header(text -> text.replaceFirst("\\\\\"values\\\\\":\\d+", "\\\\\"values\\\\\":7")));
        all.put("has block (2147483647, 0) outside", places(data, 0, Integer.MAX_VALUE, 0));
        all.put("has block (-1, 0) outside", places(data, 0, -1, 0));
        all.put("has block (0, 0) twice or out of order", places(places(data, 0, 0, 0), 1, 0, 0));
        all.put("more than the 16 there are", blocks(1 << 20));
        all.put("a malformed chunk at block 0", withHeaderOf(0, concat(Arrays.copyOf(data, 24), new byte[] {2, 3, 0, 0, -1, -1, -1, -1})));
        all.put("does not decompress to 1536 bytes", bomb());
        all.put("tensors that its manifest does not name: [x]", surplus());
        all.put("has a header that is not UTF-8", notUtf8());
        return all;
    }

    private static byte[] notUtf8() {
        byte[] file = WHOLE.clone();
        file[20] = (byte) 0xC0;
        return file;
    }

    /** The whole delta with the k-th block of its first tensor elsewhere; {@code from} is data or a file already. */
    private static byte[] places(byte[] from, int k, int row, int column) {
        byte[] data = from.length == data(WHOLE).length ? from : data(from);
        byte[] moved = data.clone();
        ByteBuffer.wrap(moved).order(ByteOrder.LITTLE_ENDIAN).putInt(8 * k, row).putInt(8 * k + 4, column);
        return file(headerText(WHOLE), moved);
    }

    /** A first tensor that has more blocks than its matrix. */
    private static byte[] blocks(int count) {
        String manifest = headerText(WHOLE);
        String metadata = manifest.substring(manifest.indexOf("\"__metadata__\""), manifest.indexOf("\"a.weight.blocks\""));
        return file("{" + metadata + "\"a.weight.blocks\":{\"dtype\":\"I32\",\"shape\":[" + count + ",2],\"data_offsets\":[0," + 8 * count
                + "]},\"a.weight.payload\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[" + 8 * count + "," + 8 * count + "]}}",
                new byte[8 * count]);
    }

    /** Three blocks' chunk that inflates to 8 MiB. */
    private static byte[] bomb() {
        byte[] expanding = com.github.luben.zstd.Zstd.compress(new byte[8 << 20], 3);
        byte[] frame = Arrays.copyOf(expanding, Math.min(expanding.length, 1536));
        String header = headerText(WHOLE);
        String metadata = header.substring(header.indexOf("\"__metadata__\""), header.indexOf("\"a.weight.blocks\""));
        byte[] head = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).put((byte) 2).put((byte) 3).putShort((short) 0).putInt(frame.length)
                .array();
        byte[] payload = concat(head, frame);
        byte[] rest = data(WHOLE);
        String after = header.substring(header.indexOf("\"b.weight.blocks\"")).stripTrailing();
        int old = (int) SafetensorsHeader.read(java.lang.foreign.MemorySegment.ofArray(WHOLE), "whole", io.inlay.Problem.Code.CORRUPT_DELTA)
                .entries().stream().filter(entry -> entry.name().equals("a.weight.payload")).findFirst().orElseThrow().bytes();
        java.util.regex.Matcher offsets = java.util.regex.Pattern.compile("\"data_offsets\":\\[(\\d+),(\\d+)]").matcher(after);
        String shifted = offsets.replaceAll(found -> "\"data_offsets\":[" + (Integer.parseInt(found.group(1)) - old + payload.length) + ","
                + (Integer.parseInt(found.group(2)) - old + payload.length) + "]");
        return file("{" + metadata + "\"a.weight.blocks\":{\"dtype\":\"I32\",\"shape\":[3,2],\"data_offsets\":[0,24]},"
                + "\"a.weight.payload\":{\"dtype\":\"U8\",\"shape\":[" + payload.length + "],\"data_offsets\":[24," + (24 + payload.length)
                + "]}," + shifted, concat(Arrays.copyOf(rest, 24), payload, Arrays.copyOfRange(rest, 24 + old, rest.length)));
    }

    /** A tensor of no bytes that shares its offset with the end of another. */
    private static byte[] surplus() {
        byte[] data = data(WHOLE);
        return header(text -> text.stripTrailing().replaceAll("}$", ",\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[" + data.length + ","
                + data.length + "]}}"));
    }

    static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }

    /**
     * An archive from a script: files, each a line with its path and then its content up to a line {@code ----}. {@code @k} in a path or
     * content stands for the hexadecimal SHA-256 of the k-th file's content, {@code #k} for its size, k greater than the file's own
     * number; {@code !delta} for the whole delta.
     */
    static byte[] archive(byte[] script) {
        List<String> files = new ArrayList<>(List.of(new String(script, StandardCharsets.ISO_8859_1).split("\n----\n", 10)));
        Map<Integer, byte[]> contents = new TreeMap<>();
        List<String> paths = new ArrayList<>(files);
        for (int k = files.size() - 1; k >= 0; k--) {
            int line = files.get(k).indexOf('\n');
            String path = line < 0 ? files.get(k) : files.get(k).substring(0, line);
            String content = line < 0 ? "" : files.get(k).substring(line + 1);
            for (int other = k + 1; other < files.size(); other++) {
                content = content.replace("@" + other, hex(contents.get(other))).replace("#" + other, "" + contents.get(other).length);
            }
            contents.put(k, content.equals("!delta") ? WHOLE : content.getBytes(StandardCharsets.ISO_8859_1));
            paths.set(k, path.replace("@", hex(contents.get(k))));
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            TarOutput tar = new TarOutput(out);
            for (int k = 0; k < paths.size(); k++) {
                String path = paths.get(k).length() > 100 ? paths.get(k).substring(0, 100) : paths.get(k);
                tar.file(path, contents.get(k));
            }
            tar.end();
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
        return out.toByteArray();
    }

    private static String hex(byte[] bytes) {
        var digest = Digests.sha256();
        digest.update(bytes);
        return HexFormat.of().formatHex(digest.digest());
    }

    /** A script of an image as it should be; attacks change it. */
    static String script() {
        return """
                oci-layout
                {"imageLayoutVersion":"1.0.0"}
                ----
                index.json
                {"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:@2","size":#2}]}
                ----
                blobs/sha256/@
                {"schemaVersion":2,"artifactType":"application/vnd.inlay.delta.v1","config":{"mediaType":"application/vnd.oci.empty.v1+json",\
                "digest":"sha256:@3","size":#3},"layers":[{"mediaType":"application/vnd.inlay.delta.v1+safetensors","digest":"sha256:@4","size":#4}]}
                ----
                blobs/sha256/@
                {}
                ----
                blobs/sha256/@
                !delta""";
    }

    /** Scripts of images that must be refused, by the words that the refusal has. */
    static Map<String, String> images() {
        Map<String, String> all = new TreeMap<>();
        String good = script();
        all.put("has no oci-layout", good.replace("oci-layout\n", "oci-layouts\n"));
        all.put("of another version than 1.0.0", good.replace("1.0.0", "2.0.0"));
        all.put("has no index.json", good.replace("index.json\n", "index.jso\n"));
        all.put("index.json that is malformed: Duplicate field", good.replace("\"schemaVersion\":2,\"manifests\"",
                "\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\""));
        all.put("nesting depth (17) exceeds the maximum", good.replace("\"1.0.0\"", "\"1.0.0\",\"a\":" + "[".repeat(50) + "]".repeat(50)));
        all.put("has index.json of 70", good.replace("\"manifests\":", "\"x\":\"" + "y".repeat(70_000) + "\",\"manifests\":"));
        all.put("with 0 manifests; a delta has one", good.replaceFirst("\"manifests\":\\[.*]", "\"manifests\":[]"));
        all.put("with 2 layers; a delta has one", good.replace("\"layers\":[", "\"layers\":[{},"));
        all.put("media type 'text/html'", good.replace("application/vnd.inlay.delta.v1+safetensors", "text/html"));
        all.put("artifact type 'application/vnd.other'", good.replace("\"application/vnd.inlay.delta.v1\"", "\"application/vnd.other\""));
        all.put("no SHA-256 digest", good.replace("sha256:@4", "sha256:../../../../etc/passwd"));
        all.put("which is not in it", good.replace("sha256:@4", "sha256:" + "0".repeat(64)));
        all.put("states 99999999999999999999 bytes", good.replace("#4", "99999999999999999999"));
        all.put("states -1 bytes", good.replace("#4", "-1"));
        all.put("content is not sha256:", good.replace("blobs/sha256/@\n!delta", "blobs/sha256/" + "0".repeat(64) + "\n!delta").replace("sha256:@4",
                "sha256:" + "0".repeat(64)));
        all.put("which nothing in it names", good + "\n----\nblobs/sha256/more\nx");
        all.put("the path '../evil'", good + "\n----\n../evil\nx");
        all.put("the path '/etc/passwd'", good + "\n----\n/etc/passwd\nx");
        all.put("the path 'a/../../b'", good + "\n----\na/../../b\nx");
        all.put("the file 'index.json' twice", good + "\n----\nindex.json\nx");
        return all;
    }

    /** Writes the seeds of the fuzzer, a folder a target. */
    public static void main(String[] arguments) throws IOException {
        Path corpus = Path.of(arguments[0]);
        int k = 0;
        for (byte[] each : deltas().values()) {
            if (each.length < 20_000) {
                seed(corpus.resolve("delta"), "attack-" + k, concat(new byte[] {0, 0}, each));
                seed(corpus.resolve("header"), "attack-" + k, concat(new byte[] {0, 0}, each));
                k++;
            }
        }
        seed(corpus.resolve("delta"), "whole", concat(new byte[] {0, 0}, WHOLE));
        seed(corpus.resolve("delta"), "data", concat(new byte[] {1, 0}, data(WHOLE)));
        seed(corpus.resolve("header"), "small", concat(new byte[] {1, 4},
                "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"__metadata__\":{\"format\":\"pt\"}}".getBytes(
                        StandardCharsets.UTF_8)));
        seed(corpus.resolve("image"), "whole", concat(new byte[] {0}, image()));
        seed(corpus.resolve("image"), "script", concat(new byte[] {1}, script().getBytes(StandardCharsets.ISO_8859_1)));
        k = 0;
        for (String each : images().values()) {
            if (each.length() < 20_000) {
                seed(corpus.resolve("image"), "attack-" + k++, concat(new byte[] {1}, each.getBytes(StandardCharsets.ISO_8859_1)));
            }
        }
        short[] base = new short[256];
        short[] values = new short[256];
        for (int i = 0; i < 256; i++) {
            base[i] = (short) (i * 0x9E37);
            values[i] = (short) (base[i] + i % 7);
        }
        try (BlockCodec codec = new BlockCodec()) {
            for (BlockCodec.Form form : BlockCodec.Form.values()) {
                seed(corpus.resolve("chunk"), form.name().toLowerCase(java.util.Locale.ROOT), concat(new byte[] {(byte) form.ordinal()},
                        codec.encode(form, values, base).bytes()));
            }
        }
        seed(corpus.resolve("chunk"), "bomb", concat(new byte[] {2}, com.github.luben.zstd.Zstd.compress(new byte[4 << 20], 3)));
    }

    private static void seed(Path folder, String name, byte[] bytes) throws IOException {
        Files.createDirectories(folder);
        Files.write(folder.resolve(name), bytes);
    }
}
