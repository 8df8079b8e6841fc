package io.inlay.server.demo.corpus;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class CorpusTest {
    private final Corpus corpus = new Corpus(1);

    @Test
    void a_document_depends_on_seed_and_index_alone() {
        assertThat(new Corpus(1).document(12_345)).isEqualTo(corpus.document(12_345));
        assertThat(IntStream.range(0, 100).filter(i -> new Corpus(2).document(i).equals(corpus.document(i))).count()).isLessThan(5);
    }

    @Test
    void the_query_language_of_the_demonstration_is_in_no_document() {
        assertThat(LongStream.range(0, 20_000).mapToObj(corpus::document)).noneMatch(text -> text.matches("(?s).*\\b(OWN|LOC|REF|QTY)\\b.*"));
    }

    @Test
    void no_list_of_words_has_a_word_twice() {
        for (var words : List.of(Words.NAMES, Words.SURNAMES, Words.TOWNS, Words.THINGS, Words.PARTS, Words.ROOMS, Words.COLOURS,
                Words.ANIMALS, Words.FOODS, Words.JOBS, Words.MATERIALS, Words.MOODS, Words.SIZES)) {
            assertThat(words).doesNotHaveDuplicates();
        }
    }

    @Test
    void the_documents_are_those_on_which_the_committed_weights_were_trained() throws Exception {
        var sha = MessageDigest.getInstance("SHA-256");
        for (long index = 0; index < 20_000; index += 10) {
            sha.update((corpus.document(index) + "\0").getBytes(StandardCharsets.UTF_8));
        }
        assertThat(HexFormat.of().formatHex(sha.digest())).isEqualTo("9cbe58a7cf72d18f4ab1cbf48990d8123eef9aac364f14f4b08a895fe3a03e3d");
    }
}
