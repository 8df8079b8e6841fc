package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every known attack on the formats is refused in words that say what is wrong. */
class FormatAttacksTest {

    private static DeltaFile.Decoded imported(byte[] file, Arena arena) {
        return DeltaImport.decode(MemorySegment.ofArray(file), "sent", Deltas.FINGERPRINT, FuzzedBase.BASE, arena);
    }

    private static MemorySegment layer(byte[] archive) {
        return OciLayout.read(MemorySegment.ofArray(archive), "sent.tar");
    }

    static Stream<String> deltas() {
        return Attacks.deltas().keySet().stream();
    }

    static Stream<String> images() {
        return Attacks.images().keySet().stream();
    }

    @Test
    void the_delta_that_attacks_are_made_of_is_taken() {
        try (Arena arena = Arena.ofConfined()) {
            assertThat(imported(Attacks.delta(), arena).blocks()).hasSize(2);
        }
    }

    @ParameterizedTest
    @MethodSource("deltas")
    void a_delta_is_refused(String words) {
        try (Arena arena = Arena.ofConfined()) {
            assertThatThrownBy(() -> imported(Attacks.deltas().get(words), arena)).isInstanceOf(Problem.class).hasMessageContaining(words)
                    .hasMessageStartingWith("sent").extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
        }
    }

    @Test
    void values_that_are_not_finite_are_refused() {
        try (Arena arena = Arena.ofConfined()) {
            TensorBlocks blocks = new Deltas(arena, 5).with("b.weight", 128, 96).tuned("b.weight", 16, 4, 1e-3);
            blocks.values().setAtIndex(ValueLayout.JAVA_SHORT, 300, (short) 0x7FC0);
            byte[] file = Attacks.concat(DeltaFile.encode(Deltas.draft("task", 16), List.of(blocks), FuzzedBase.BASE).parts()
                    .toArray(byte[][]::new));
            assertThatThrownBy(() -> imported(file, arena)).isInstanceOf(Problem.class)
                    .hasMessage("sent has b.weight with a value that is not finite, at 300; it would make every answer nonsense");
        }
    }

    @Test
    void an_image_gives_its_delta_back_byte_for_byte() {
        assertThat(layer(Attacks.image()).toArray(ValueLayout.JAVA_BYTE)).isEqualTo(Attacks.delta());
        assertThat(layer(Attacks.archive(Attacks.script().getBytes(StandardCharsets.ISO_8859_1))).toArray(ValueLayout.JAVA_BYTE))
                .isEqualTo(Attacks.delta());
    }

    @ParameterizedTest
    @MethodSource("images")
    void an_image_is_refused(String words) {
        assertThatThrownBy(() -> layer(Attacks.archive(Attacks.images().get(words).getBytes(StandardCharsets.ISO_8859_1))))
                .isInstanceOf(Problem.class).hasMessageStartingWith("sent.tar").hasMessageContaining(words)
                .extracting(problem -> ((Problem) problem).code()).isEqualTo(Problem.Code.CORRUPT_DELTA);
    }

    private static byte[] patched(int at, String text) {
        byte[] archive = Attacks.image();
        byte[] bytes = text.getBytes(StandardCharsets.ISO_8859_1);
        System.arraycopy(bytes, 0, archive, at, bytes.length);
        long sum = 0;
        for (int i = 0; i < 512; i++) {
            sum += i >= 148 && i < 156 ? ' ' : archive[i] & 0xFF;
        }
        System.arraycopy(String.format("%06o\0 ", sum).getBytes(StandardCharsets.US_ASCII), 0, archive, 148, 8);
        return archive;
    }

    @Test
    void links_devices_and_extensions_are_refused() {
        assertThatThrownBy(() -> layer(patched(156, "2"))).hasMessage("sent.tar has the link 'oci-layout'; an image layout has regular files only");
        assertThatThrownBy(() -> layer(patched(156, "1"))).hasMessageContaining("has the link 'oci-layout'");
        assertThatThrownBy(() -> layer(patched(156, "3"))).hasMessageContaining("the entry 'oci-layout' of type 51; pack regular files");
        assertThatThrownBy(() -> layer(patched(156, "x"))).hasMessageContaining("of type 120; pack regular files, in ustar format");
        assertThatThrownBy(() -> layer(patched(156, "5"))).hasMessageContaining("has the folder 'oci-layout' with a content");
    }

    @Test
    void sizes_that_lie_are_refused() {
        assertThatThrownBy(() -> layer(patched(124, "77777777777"))).hasMessageContaining("of 8589934591 bytes, of which only");
        assertThatThrownBy(() -> layer(patched(124, "\u0080\0\0\0\u007f\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff")))
                .hasMessageContaining("of 9223372036854775807 bytes, of which only");
        assertThatThrownBy(() -> layer(patched(124, "\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff\u00ff")))
                .hasMessageContaining("with a size that is no number");
        assertThatThrownBy(() -> layer(patched(124, "-0000000001"))).hasMessageContaining("with a size that is no number");
    }

    @Test
    void damaged_and_endless_archives_are_refused() {
        byte[] image = Attacks.image();
        assertThatThrownBy(() -> layer(Arrays.copyOf(image, image.length - 1024))).hasMessageContaining("without the two empty blocks");
        assertThatThrownBy(() -> layer(Arrays.copyOf(image, image.length - 512))).hasMessageContaining("ends with two");
        byte[] behind = Arrays.copyOf(image, image.length + 1);
        behind[image.length] = 1;
        assertThatThrownBy(() -> layer(behind)).hasMessageContaining("has something at byte " + image.length + ", behind the archive's end");
        image[3] ^= 1;
        assertThatThrownBy(() -> layer(image)).hasMessageContaining("has a header at byte 0 whose checksum is wrong");
        ByteArrayOutputStream many = new ByteArrayOutputStream();
        for (int i = 0; i < 70; i++) {
            byte[] folder = patched(156, "5");
            System.arraycopy(String.format("d%09d", i).getBytes(StandardCharsets.US_ASCII), 0, folder, 0, 10);
            many.writeBytes(folder(folder));
        }
        assertThatThrownBy(() -> layer(many.toByteArray())).hasMessageContaining("has more than 64 entries");
    }

    private static byte[] folder(byte[] archive) {
        byte[] header = Arrays.copyOf(archive, 512);
        System.arraycopy("00000000000".getBytes(StandardCharsets.US_ASCII), 0, header, 124, 11);
        long sum = 0;
        for (int i = 0; i < 512; i++) {
            sum += i >= 148 && i < 156 ? ' ' : header[i] & 0xFF;
        }
        System.arraycopy(String.format("%06o\0 ", sum).getBytes(StandardCharsets.US_ASCII), 0, header, 148, 8);
        return header;
    }
}
