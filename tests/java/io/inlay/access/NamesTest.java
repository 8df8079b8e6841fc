package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NamesTest {

    @ParameterizedTest
    @ValueSource(strings = {"", ".", "..", ".a", "-a", "_a", "a/b", "a\\b", "a b", "a\0", "a\n", "%2e%2e", "аlice", "ａlice",
            "alice\u200b", "é", "e\u0301",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"})
    void what_is_more_or_less_than_a_name_is_refused(String name) {
        assertThatThrownBy(() -> Names.require("tenant", name)).isInstanceOf(Problem.class).hasMessageStartingWith("tenant name '")
                .hasMessageEndingWith("' is not allowed; use letters, digits, '.', '_' and '-', 64 at most, beginning with a letter "
                        + "or digit");
    }

    @Test
    void a_name_that_is_taken_stays_in_its_folder_whatever_its_characters() {
        Random random = new Random(11);
        Path root = Path.of("/root/of/all");
        int taken = 0;
        for (int i = 0; i < 200_000; i++) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(6); n >= 0; n--) {
                text.append(random.nextInt(4) == 0 ? (char) random.nextInt(0x10000) : (char) (' ' + random.nextInt(95)));
            }
            String name = text.toString();
            try {
                Names.require("tenant", name);
            } catch (Problem refused) {
                continue;
            }
            taken++;
            Path folder = root.resolve(name);
            assertThat(folder.normalize()).isEqualTo(folder);
            assertThat(folder.getParent()).isEqualTo(root);
            assertThat(name.chars()).allMatch(character -> character < 128);
            assertThat(java.net.URLEncoder.encode(name, java.nio.charset.StandardCharsets.UTF_8)).isEqualTo(name);
        }
        assertThat(taken).isGreaterThan(1000);
    }

    @Test
    void what_is_shown_is_short_and_plain() {
        assertThat(Names.shown("a\nb\u202e" + "x".repeat(500))).matches("a\\?b\\?x+\\.\\.\\.").hasSize(83);
        assertThat(Names.shown(null)).isEmpty();
    }

    @Test
    void a_reference_is_visible_ascii_and_not_longer_than_any() {
        assertThat(Names.canRefer("small:task@12")).isTrue();
        assertThat(Names.canRefer("x".repeat(256))).isTrue();
        for (String text : new String[] {null, "", " ", "a b", "a\0", "é", "x".repeat(257)}) {
            assertThat(Names.canRefer(text)).isFalse();
        }
    }
}
