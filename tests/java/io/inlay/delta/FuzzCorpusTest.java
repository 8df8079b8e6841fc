package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Replays what {@code ./inlay fuzz} has found worth keeping, without the fuzzer. */
class FuzzCorpusTest {

    @ParameterizedTest
    @ValueSource(strings = {"header", "chunk", "delta", "image"})
    void every_input_of_the_corpus_is_taken_or_refused_in_words(String target) throws IOException {
        Consumer<byte[]> fuzz = switch (target) {
            case "header" -> HeaderFuzz::fuzzerTestOneInput;
            case "chunk" -> ChunkFuzz::fuzzerTestOneInput;
            case "delta" -> DeltaFuzz::fuzzerTestOneInput;
            default -> ImageFuzz::fuzzerTestOneInput;
        };
        try (Stream<Path> files = Files.list(Path.of("tests/fuzz-corpus", target))) {
            List<Path> inputs = files.sorted().toList();
            assertThat(inputs).isNotEmpty();
            for (Path input : inputs) {
                byte[] bytes = Files.readAllBytes(input);
                assertThatCode(() -> fuzz.accept(bytes)).as(input.toString()).doesNotThrowAnyException();
            }
        }
    }
}
