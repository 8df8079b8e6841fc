package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class DenseExportTest {

    @Test
    void values_and_places_lie_in_plain_safetensors_with_the_manifest_in_the_metadata() throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            DeltaFile.Decoded delta = DeltaFile.decode(MemorySegment.ofArray(Attacks.delta()), "delta", Deltas.FINGERPRINT, FuzzedBase.BASE, arena);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            DenseExport.write(delta.manifest(), delta.blocks(), delta.tensors(), out);
            assertThat(DenseExport.bytes(delta.manifest(), delta.blocks(), delta.tensors())).isEqualTo(out.size());
            MemorySegment file = MemorySegment.ofArray(out.toByteArray());
            SafetensorsHeader header = SafetensorsHeader.read(file, "dense", Problem.Code.CORRUPT_DELTA);
            assertThat(header.metadata()).containsEntry("format", "inlay-delta-dense").containsKey("manifest");
            Map<String, SafetensorsHeader.Entry> entries = header.entries().stream()
                    .collect(Collectors.toMap(SafetensorsHeader.Entry::name, Function.identity()));
            assertThat(entries.keySet()).containsExactlyInAnyOrder("a.weight.blocks", "a.weight.values", "b.weight.blocks", "b.weight.values",
                    "n.weight");
            for (TensorBlocks blocks : delta.blocks()) {
                SafetensorsHeader.Entry values = entries.get(blocks.tensor() + ".values");
                assertThat(values.dtype()).isEqualTo("BF16");
                assertThat(values.shape()).containsExactly(blocks.coordinates().size(), 16, 16);
                assertThat(file.asSlice(values.begin(), values.bytes()).mismatch(blocks.values())).isEqualTo(-1);
            }
            assertThat(file.asSlice(entries.get("n.weight").begin(), 96).mismatch(delta.tensors().getFirst().values())).isEqualTo(-1);
        }
    }

    @Test
    void a_dense_export_is_no_delta_and_is_refused_as_one() throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            DeltaFile.Decoded delta = DeltaFile.decode(MemorySegment.ofArray(Attacks.delta()), "delta", Deltas.FINGERPRINT, FuzzedBase.BASE, arena);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            DenseExport.write(delta.manifest(), delta.blocks(), List.of(), out);
            assertThat(org.assertj.core.api.Assertions.catchThrowable(() -> DeltaFile.manifest(MemorySegment.ofArray(out.toByteArray()), "dense")))
                    .isInstanceOf(Problem.class).hasMessage("dense is no delta of Inlay's: its metadata has no format 'inlay-delta'");
        }
    }
}
