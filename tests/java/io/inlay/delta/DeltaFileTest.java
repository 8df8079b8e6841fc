package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class DeltaFileTest {

    private final Arena arena = Arena.ofConfined();
    private final Deltas base = new Deltas(arena, 5).with("b.weight", 128, 96).with("a.weight", 64, 64);

    @AfterEach
    void free() {
        arena.close();
    }

    private List<TensorBlocks> blocks() {
        return List.of(base.tuned("b.weight", 16, 20, 1e-3), base.tuned("a.weight", 16, 3, 1e-4));
    }

    private MemorySegment file(DeltaFile.Encoded encoded) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        encoded.parts().forEach(out::writeBytes);
        return arena.allocate(out.size(), 8).copyFrom(MemorySegment.ofArray(out.toByteArray()));
    }

    private DeltaFile.Decoded decode(MemorySegment file) {
        return DeltaFile.decode(file, "d.safetensors", Deltas.FINGERPRINT, base, arena);
    }

    @Test
    void a_delta_comes_back_bit_for_bit_with_its_manifest() {
        List<TensorBlocks> blocks = blocks();
        DeltaFile.Encoded encoded = DeltaFile.encode(Deltas.draft("task", 16), blocks, base);
        DeltaFile.Decoded decoded = decode(file(encoded));
        assertThat(decoded.manifest()).isEqualTo(encoded.manifest());
        assertThat(decoded.manifest().values()).isEqualTo(23 * 256);
        assertThat(decoded.blocks()).extracting(TensorBlocks::tensor).containsExactly("a.weight", "b.weight");
        for (TensorBlocks original : blocks) {
            TensorBlocks back = decoded.blocks().stream().filter(each -> each.tensor().equals(original.tensor())).findFirst().orElseThrow();
            assertThat(back.coordinates()).isEqualTo(original.coordinates());
            assertThat(back.values().mismatch(original.values())).isEqualTo(-1);
        }
    }

    @Test
    void the_same_blocks_give_the_same_bytes_in_any_order() {
        List<TensorBlocks> blocks = blocks();
        MemorySegment one = file(DeltaFile.encode(Deltas.draft("task", 16), blocks, base));
        MemorySegment other = file(DeltaFile.encode(Deltas.draft("task", 16), blocks.reversed(), base));
        assertThat(one.mismatch(other)).isEqualTo(-1);
    }

    @Test
    void a_wrong_base_is_refused_before_decoding() {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), blocks(), base));
        assertThatThrownBy(() -> DeltaFile.decode(file, "d.safetensors", "sha256:other", base, arena)).isInstanceOf(Problem.class)
                .hasMessage("d.safetensors was trained on base " + Deltas.FINGERPRINT
                        + ", the base at hand is sha256:other; serve it with the model it was made from")
                .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.BASE_MISMATCH);
    }

    @Test
    void a_base_that_changed_under_its_fingerprint_is_found_by_the_digests() {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), blocks(), base));
        MemorySegment bits = base.matrix("b.weight").bits();
        for (long i = 0; i < bits.byteSize() / 2; i++) {
            bits.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (bits.getAtIndex(ValueLayout.JAVA_SHORT, i) ^ 1));
        }
        assertThatThrownBy(() -> decode(file)).isInstanceOf(Problem.class)
                .hasMessage("d.safetensors: the blocks of b.weight do not match their digest; the file is damaged, restore it from a copy");
    }

    @Test
    void every_truncation_is_refused() {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), blocks(), base));
        for (long length = 0; length < file.byteSize(); length += 1 + length / 50) {
            MemorySegment cut = file.asSlice(0, length);
            assertThatThrownBy(() -> decode(cut)).as("cut to " + length).isInstanceOf(Problem.class)
                    .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
        }
    }

    @Test
    void a_flipped_bit_in_places_or_payload_never_gives_other_blocks() {
        List<TensorBlocks> original = blocks();
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), original, base));
        long dataStart = 8 + file.get(ValueLayout.JAVA_LONG, 0);
        SplittableRandom random = new SplittableRandom(9);
        int refusals = 0;
        for (int i = 0; i < 600; i++) {
            long at = random.nextLong(dataStart, file.byteSize());
            byte flipped = (byte) (file.get(ValueLayout.JAVA_BYTE, at) ^ 1 << random.nextInt(8));
            byte old = file.get(ValueLayout.JAVA_BYTE, at);
            file.set(ValueLayout.JAVA_BYTE, at, flipped);
            try {
                // A frame has bits that its decoder does not read; what comes out must then be what went in.
                for (TensorBlocks back : decode(file).blocks()) {
                    TensorBlocks one = original.stream().filter(each -> each.tensor().equals(back.tensor())).findFirst().orElseThrow();
                    assertThat(back.coordinates()).isEqualTo(one.coordinates());
                    assertThat(back.values().mismatch(one.values())).as("bit at " + at).isEqualTo(-1);
                }
            } catch (Problem refused) {
                assertThat(refused.code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
                refusals++;
            }
            file.set(ValueLayout.JAVA_BYTE, at, old);
        }
        assertThat(refusals).isGreaterThan(590);
    }

    @Test
    void a_flipped_bit_in_the_header_gives_a_problem_or_the_same_blocks() {
        MemorySegment file = file(DeltaFile.encode(Deltas.draft("task", 16), blocks(), base));
        long dataStart = 8 + file.get(ValueLayout.JAVA_LONG, 0);
        for (long at = 0; at < dataStart; at++) {
            byte old = file.get(ValueLayout.JAVA_BYTE, at);
            file.set(ValueLayout.JAVA_BYTE, at, (byte) (old ^ 4));
            try {
                assertThat(decode(file).manifest().values()).isNotNegative();
            } catch (Problem refused) {
                assertThat(refused.code()).isIn(Problem.Code.CORRUPT_DELTA, Problem.Code.BASE_MISMATCH);
            }
            file.set(ValueLayout.JAVA_BYTE, at, old);
        }
    }
}
