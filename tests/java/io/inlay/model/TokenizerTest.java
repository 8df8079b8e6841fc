package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Ids and texts against Hugging Face's own library: see tests/golden/tokenizer. */
class TokenizerTest {

    private static final Path FOLDER = Path.of("tests/golden/tokenizer");
    private static final Path EMBEDDED = Path.of("model-store/base/inlay-tiny");

    private static final Map<String, Tokenizer> TOKENIZERS = new HashMap<>();

    @BeforeAll
    static void open() {
        List.of("byte-level", "metaspace").forEach(kind -> TOKENIZERS.put(kind, Tokenizer.open(FOLDER.resolve(kind))));
    }

    @AfterAll
    static void close() {
        TOKENIZERS.values().forEach(Tokenizer::close);
    }

    private static JsonNode golden(String kind) throws IOException {
        return new ObjectMapper().readTree(FOLDER.resolve(kind).resolve("cases.json").toFile());
    }

    static Stream<Arguments> cases() throws IOException {
        List<Arguments> all = new ArrayList<>();
        for (String kind : List.of("byte-level", "metaspace")) {
            for (JsonNode each : golden(kind).get("cases")) {
                all.add(Arguments.of(kind, each.get("text").asText(), each));
            }
        }
        return all.stream();
    }

    private static int[] ints(JsonNode array) {
        return StreamSupport.stream(array.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
    }

    @ParameterizedTest(name = "{0}: \"{1}\"")
    @MethodSource("cases")
    void a_text_has_the_ids_that_hugging_faces_library_gives_it(String kind, String text, JsonNode expected) {
        assertThat(TOKENIZERS.get(kind).encode(text, false)).containsExactly(ints(expected.get("ids")));
        assertThat(TOKENIZERS.get(kind).encode(text, true)).containsExactly(ints(expected.get("with_special_tokens")));
    }

    @ParameterizedTest(name = "{0}: \"{1}\"")
    @MethodSource("cases")
    void ids_have_the_text_that_hugging_faces_library_gives_them(String kind, String text, JsonNode expected) {
        assertThat(TOKENIZERS.get(kind).decode(ints(expected.get("ids")))).isEqualTo(expected.get("decoded").asText());
    }

    @ParameterizedTest(name = "{0}: \"{1}\"")
    @MethodSource("cases")
    void a_text_that_grows_id_by_id_becomes_the_same_text_and_never_shows_half_a_character(String kind, String text,
            JsonNode expected) {
        TextStream stream = TOKENIZERS.get(kind).stream();
        StringBuilder grown = new StringBuilder();
        boolean replacementInText = text.indexOf('\uFFFD') >= 0;
        for (int id : ints(expected.get("ids"))) {
            String piece = stream.feed(id);
            assertThat(replacementInText || piece.indexOf('\uFFFD') < 0).as("piece '%s'", piece).isTrue();
            assertThat(piece.isEmpty() || !Character.isHighSurrogate(piece.charAt(piece.length() - 1))).as("piece '%s'", piece).isTrue();
            grown.append(piece);
        }
        assertThat(grown.append(stream.finish()).toString()).isEqualTo(expected.get("decoded").asText());
    }

    @ParameterizedTest
    @ValueSource(strings = {"byte-level", "metaspace"})
    void begin_and_end_come_from_the_configuration(String kind) throws IOException {
        try (Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve(kind))) {
            assertThat(tokenizer.bos()).hasValue(golden(kind).get("bos").asInt());
            assertThat(tokenizer.eos()).contains(golden(kind).get("eos").asInt());
        }
    }

    /** Whatever the code points, byte-level tokens lose nothing. */
    @Test
    void random_text_comes_back_from_byte_level_ids_unchanged() {
        Random random = new Random(11);
        try (Tokenizer golden = Tokenizer.open(FOLDER.resolve("byte-level")); Tokenizer embedded = Tokenizer.open(EMBEDDED)) {
            for (int i = 0; i < 300; i++) {
                String text = random.ints(1 + random.nextInt(60), 0, 0x30000).filter(point -> point < 0xD800 || point > 0xDFFF)
                        .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append).toString();
                for (Tokenizer tokenizer : List.of(golden, embedded)) {
                    int[] ids = tokenizer.encode(text, false);
                    assertThat(tokenizer.decode(ids)).isEqualTo(text);
                    assertThat(ids).doesNotContain(-1);
                    assertThat(Arrays.stream(ids).max().orElse(0)).isLessThan(tokenizer.vocabularySize());
                }
            }
        }
    }

    /** A generation may produce any bytes at all; text must come out all the same, in bounded time. */
    @Test
    void bytes_that_never_become_a_character_are_shown_as_replacement_characters() {
        try (Tokenizer tokenizer = Tokenizer.open(FOLDER.resolve("byte-level"))) {
            int lone = tokenizer.encode("\u00e9", false)[0];
            TextStream stream = tokenizer.stream();
            StringBuilder grown = new StringBuilder();
            int[] ids = new int[2000];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = lone;
                grown.append(stream.feed(lone));
            }
            assertThat(grown.length()).as("characters shown before the end").isGreaterThan(1900);
            assertThat(grown.append(stream.finish()).toString()).isEqualTo(tokenizer.decode(ids));
        }
    }

    @Test
    void a_missing_or_broken_tokenizer_is_named(@TempDir Path folder) throws IOException {
        Files.copy(FOLDER.resolve("byte-level/config.json"), folder.resolve("config.json"));
        assertThatThrownBy(() -> Tokenizer.open(folder)).isInstanceOf(Problem.class)
                .hasMessageContaining(folder.resolve("tokenizer.json") + " is missing");
        Files.writeString(folder.resolve("tokenizer.json"), "{\"model\": 1}");
        assertThatThrownBy(() -> Tokenizer.open(folder)).isInstanceOf(Problem.class)
                .hasMessageContaining(folder.resolve("tokenizer.json") + " is no tokenizer: ");
    }
}
