package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Deltas that hold tensors as a whole, beside blocks or alone. */
class WholeTensorsTest {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Arena arena = Arena.ofConfined();
    private final Deltas base = new Deltas(arena, 5).with("a.weight", 64, 64).with("table.weight", 1100, 1000).withVector("norm.weight", 50);

    @AfterEach
    void free() {
        arena.close();
    }

    private List<TensorBlocks> blocks() {
        return List.of(base.tuned("a.weight", 16, 3, 1e-4));
    }

    /** The first is over a chunk's 2^20 values. */
    private List<WholeTensor> tensors() {
        return List.of(base.tunedWhole("table.weight", 1e-4), base.tunedWhole("norm.weight", 1e-2));
    }

    private MemorySegment file(DeltaFile.Encoded encoded) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        encoded.parts().forEach(out::writeBytes);
        return segment(out.toByteArray());
    }

    private MemorySegment segment(byte[] bytes) {
        return arena.allocate(bytes.length, 8).copyFrom(MemorySegment.ofArray(bytes));
    }

    private DeltaFile.Decoded decode(MemorySegment file) {
        return DeltaFile.decode(file, "d.safetensors", Deltas.FINGERPRINT, base, arena);
    }

    @Test
    void whole_tensors_come_back_bit_for_bit_beside_blocks() {
        List<WholeTensor> tensors = tensors();
        DeltaFile.Encoded encoded = DeltaFile.encode(Deltas.draft("task", 16), blocks(), tensors, base);
        DeltaFile.Decoded decoded = decode(file(encoded));
        assertThat(decoded.manifest()).isEqualTo(encoded.manifest());
        assertThat(decoded.manifest().formatVersion()).isEqualTo(2);
        assertThat(decoded.manifest().values()).isEqualTo(3 * 256 + 1_100_000 + 50);
        assertThat(decoded.blocks()).extracting(TensorBlocks::tensor).containsExactly("a.weight");
        assertThat(decoded.tensors()).extracting(WholeTensor::tensor).containsExactly("norm.weight", "table.weight");
        for (WholeTensor back : decoded.tensors()) {
            WholeTensor original = tensors.stream().filter(each -> each.tensor().equals(back.tensor())).findFirst().orElseThrow();
            assertThat(back.shape()).isEqualTo(original.shape());
            assertThat(back.values().mismatch(original.values())).isEqualTo(-1);
        }
        // Small changes cost less than a byte a value, against the base as blocks do.
        assertThat(encoded.bytes()).isLessThan(1_100_000);
    }

    @Test
    void a_delta_without_blocks_is_one_too() {
        DeltaFile.Decoded decoded = decode(file(DeltaFile.encode(Deltas.draft("task", 1), List.of(), tensors(), base)));
        assertThat(decoded.blocks()).isEmpty();
        assertThat(decoded.tensors()).hasSize(2);
    }

    @Test
    void a_file_of_the_first_version_decodes_to_the_same_manifest_and_blocks() throws IOException {
        Deltas old = new Deltas(arena, 5).with("b.weight", 128, 96).with("a.weight", 64, 64);
        List<TensorBlocks> blocks = List.of(old.tuned("b.weight", 16, 20, 1e-3), old.tuned("a.weight", 16, 3, 1e-4));
        byte[] golden = Files.readAllBytes(Path.of("tests/golden/delta/version-1.safetensors"));
        DeltaFile.Encoded encoded = DeltaFile.encode(Deltas.draft("task", 16), blocks, List.of(), old);
        DeltaFile.Decoded decoded = DeltaFile.decode(segment(golden), "old.safetensors", Deltas.FINGERPRINT, old, arena);
        assertThat(decoded.manifest()).isEqualTo(encoded.manifest());
        assertThat(decoded.manifest().formatVersion()).isEqualTo(1);
        assertThat(decoded.tensors()).isEmpty();
        assertThat(decoded.blocks()).hasSize(2);
    }

    @Test
    void the_digest_tells_whole_tensors_apart() {
        String both = DeltaFile.encode(Deltas.draft("task", 16), blocks(), tensors(), base).manifest().digest();
        assertThat(DeltaFile.encode(Deltas.draft("task", 16), blocks(), tensors(), base).manifest().digest()).isNotEqualTo(both);
        assertThat(DeltaFile.encode(Deltas.draft("task", 16), blocks(), base).manifest().digest()).isNotEqualTo(both);
    }

    @Test
    void a_tensor_that_the_base_lacks_or_has_in_another_shape_is_refused() {
        WholeTensor foreign = new WholeTensor("other.weight", new long[] {2}, arena.allocate(4));
        WholeTensor longer = new WholeTensor("norm.weight", new long[] {60}, arena.allocate(120));
        assertThatThrownBy(() -> DeltaFile.encode(Deltas.draft("task", 16), List.of(), List.of(foreign), base)).isInstanceOf(Problem.class)
                .hasMessage("the base has no tensor other.weight; the delta is of another base");
        assertThatThrownBy(() -> DeltaFile.encode(Deltas.draft("task", 16), List.of(), List.of(longer), base)).isInstanceOf(Problem.class)
                .hasMessage("the base has norm.weight of [50], the delta of [60]; the delta is of another base");
    }

    @Test
    void a_tensor_in_blocks_and_whole_is_refused() {
        assertThatThrownBy(() -> DeltaFile.encode(Deltas.draft("task", 16), blocks(), List.of(base.tunedWhole("a.weight", 1e-3)), base))
                .hasMessage("a.weight is given twice");
        corrupt(manifest -> ((ObjectNode) manifest.get("tensorDigests")).put("a.weight", "sha256:0"),
                "d.safetensors has a.weight both in blocks and whole");
    }

    @Test
    void a_version_that_does_not_fit_the_content_is_refused() {
        corrupt(manifest -> manifest.put("formatVersion", 1),
                "d.safetensors is of format version 1 and names 2 whole tensors; version 2 has some, version 1 none");
        corrupt(manifest -> manifest.putObject("tensorDigests"),
                "d.safetensors is of format version 2 and names 0 whole tensors; version 2 has some, version 1 none");
        corrupt(manifest -> manifest.put("formatVersion", 3),
                "d.safetensors is of format version 3; this Inlay reads versions 1 and 2, use the one that wrote it or a newer one");
    }

    @Test
    void digests_that_do_not_fit_are_refused_by_name() {
        corrupt(manifest -> ((ObjectNode) manifest.get("tensorDigests")).put("norm.weight", "sha256:0"), "d.safetensors: the values of "
                + "norm.weight do not match their digest; the file is damaged, restore it from a copy");
        corrupt(manifest -> ((ObjectNode) manifest.get("tensorDigests")).remove("norm.weight"),
                "d.safetensors has tensors that its manifest does not name: [norm.weight.whole]");
        corrupt(manifest -> ((ObjectNode) manifest.get("tensorDigests")).set("more.weight", manifest.get("digest")),
                "d.safetensors: more.weight lacks its .whole (U8)");
        corrupt(manifest -> manifest.put("digest", "sha256:0"), "d.safetensors: block places do not match the manifest's digest; the file is "
                + "damaged");
    }

    @Test
    void a_flipped_bit_in_a_whole_tensor_never_gives_other_values() {
        WholeTensor original = base.tunedWhole("norm.weight", 1e-2);
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), List.of(), List.of(original), base));
        long dataStart = 8 + file.get(ValueLayout.JAVA_LONG, 0);
        SplittableRandom random = new SplittableRandom(9);
        int refusals = 0;
        for (int i = 0; i < 400; i++) {
            long at = random.nextLong(dataStart, file.byteSize());
            byte old = file.get(ValueLayout.JAVA_BYTE, at);
            file.set(ValueLayout.JAVA_BYTE, at, (byte) (old ^ 1 << random.nextInt(8)));
            try {
                assertThat(decode(file).tensors().getFirst().values().mismatch(original.values())).as("byte " + at).isEqualTo(-1);
            } catch (Problem refused) {
                assertThat(refused.code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
                refusals++;
            }
            file.set(ValueLayout.JAVA_BYTE, at, old);
        }
        assertThat(refusals).isGreaterThan(380);
    }

    @Test
    void a_chunk_header_that_claims_blocks_or_another_length_is_refused() {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), List.of(), List.of(base.tunedWhole("norm.weight", 1e-2)), base));
        long dataStart = 8 + file.get(ValueLayout.JAVA_LONG, 0);
        for (int at : new int[] {1, 3, 5}) {
            byte old = file.get(ValueLayout.JAVA_BYTE, dataStart + at);
            file.set(ValueLayout.JAVA_BYTE, dataStart + at, (byte) (old + 1));
            assertThatThrownBy(() -> decode(file)).isInstanceOf(Problem.class)
                    .hasMessage("d.safetensors: norm.weight has a malformed chunk at value 0");
            file.set(ValueLayout.JAVA_BYTE, dataStart + at, old);
        }
        assertThat(decode(file).tensors()).hasSize(1);
    }

    /** Writes a delta with a changed manifest and expects the refusal. */
    private void corrupt(Consumer<ObjectNode> change, String message) {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), blocks(), tensors(), base));
        try {
            ObjectNode header = header(file);
            ObjectNode manifest = manifest(header);
            change.accept(manifest);
            ((ObjectNode) header.get("__metadata__")).put("manifest", JSON.writeValueAsString(manifest));
            byte[] json = JSON.writeValueAsBytes(header);
            byte[] data = file.asSlice(8 + file.get(ValueLayout.JAVA_LONG, 0)).toArray(ValueLayout.JAVA_BYTE);
            byte[] changed = ByteBuffer.allocate(8 + json.length + data.length).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).put(json)
                    .put(data).array();
            assertThatThrownBy(() -> decode(segment(changed))).isInstanceOf(Problem.class).hasMessage(message)
                    .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
        } catch (IOException impossible) {
            throw new AssertionError(impossible);
        }
    }

    private static ObjectNode header(MemorySegment file) throws IOException {
        byte[] json = file.asSlice(8, file.get(ValueLayout.JAVA_LONG, 0)).toArray(ValueLayout.JAVA_BYTE);
        return (ObjectNode) JSON.readTree(new String(json, StandardCharsets.UTF_8));
    }

    private static ObjectNode manifest(ObjectNode header) throws IOException {
        return (ObjectNode) JSON.readTree(header.get("__metadata__").get("manifest").asText());
    }
}
