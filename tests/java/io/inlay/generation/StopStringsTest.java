package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class StopStringsTest {

    @Test
    void text_before_a_stop_string_is_shown_and_the_stop_string_is_not() {
        StopStrings stops = new StopStrings(List.of("END"));
        assertThat(stops.accept("one two END three")).isEqualTo("one two ");
        assertThat(stops.hit()).isTrue();
        assertThat(stops.accept("more")).isEmpty();
        assertThat(stops.finish()).isEmpty();
    }

    @Test
    void a_stop_string_across_pieces_is_held_back_until_it_is_whole() {
        StopStrings stops = new StopStrings(List.of("\n\nQ:"));
        assertThat(stops.accept("A: 4\n")).isEqualTo("A: 4");
        assertThat(stops.accept("\n")).isEmpty();
        assertThat(stops.accept("Q")).isEmpty();
        assertThat(stops.hit()).isFalse();
        assertThat(stops.accept(": next")).isEmpty();
        assertThat(stops.hit()).isTrue();
    }

    @Test
    void what_turns_out_not_to_be_a_stop_string_is_shown_at_once() {
        StopStrings stops = new StopStrings(List.of("STOP"));
        assertThat(stops.accept("x STO")).isEqualTo("x ");
        assertThat(stops.accept("RM ")).isEqualTo("STORM ");
        assertThat(stops.hit()).isFalse();
    }

    @Test
    void a_beginning_inside_a_failed_beginning_is_found() {
        StopStrings stops = new StopStrings(List.of("aab"));
        assertThat(stops.accept("aa")).isEmpty();
        assertThat(stops.accept("a")).isEqualTo("a");
        assertThat(stops.accept("b")).isEmpty();
        assertThat(stops.hit()).isTrue();
    }

    @Test
    void what_was_held_back_for_nothing_is_shown_at_the_end() {
        StopStrings stops = new StopStrings(List.of("</answer>"));
        assertThat(stops.accept("42</ans")).isEqualTo("42");
        assertThat(stops.finish()).isEqualTo("</ans");
        assertThat(stops.hit()).isFalse();
    }

    @Test
    void the_stop_string_that_is_complete_first_wins_however_the_text_is_cut() {
        for (List<String> pieces : List.of(List.of("xabcdy"), List.of("xa", "bc", "dy"), List.of("x", "a", "b", "c", "d", "y"))) {
            StopStrings stops = new StopStrings(List.of("abcd", "bc"));
            assertThat(show(stops, pieces)).isEqualTo("xa");
            assertThat(stops.hit()).isTrue();
        }
    }

    @Test
    void of_stop_strings_that_end_together_the_longest_wins() {
        StopStrings stops = new StopStrings(List.of("c", "abc", "bc"));
        assertThat(stops.accept("xabc")).isEqualTo("x");
    }

    @Test
    void characters_of_several_bytes_and_of_two_units_are_matched_whole() {
        StopStrings stops = new StopStrings(List.of("🙂é"));
        assertThat(stops.accept("日本🙂")).isEqualTo("日本");
        assertThat(stops.accept("🙃🙂")).isEqualTo("🙂🙃");
        assertThat(stops.accept("é!")).isEmpty();
        assertThat(stops.hit()).isTrue();
    }

    @Test
    void without_stop_strings_text_passes_through() {
        StopStrings stops = new StopStrings(List.of());
        assertThat(stops.accept("anything")).isEqualTo("anything");
        assertThat(stops.finish()).isEmpty();
    }

    @Test
    void any_text_in_any_pieces_with_any_stop_strings_gives_what_a_search_of_the_whole_text_gives() {
        SplittableRandom random = new SplittableRandom(17);
        int hits = 0;
        for (int round = 0; round < 20_000; round++) {
            List<String> wanted = new ArrayList<>();
            for (int i = random.nextInt(1, 4); i > 0; i--) {
                wanted.add(letters(random, random.nextInt(1, 5)));
            }
            String text = letters(random, random.nextInt(0, 30));
            List<String> pieces = new ArrayList<>();
            for (int at = 0; at < text.length();) {
                int next = Math.min(text.length(), at + random.nextInt(0, 6));
                pieces.add(text.substring(at, next));
                at = next;
            }
            StopStrings stops = new StopStrings(wanted);
            String shown = show(stops, pieces);
            assertThat(shown).as("%s in %s", wanted, pieces).isEqualTo(before(text, wanted));
            assertThat(stops.hit()).isEqualTo(wanted.stream().anyMatch(text::contains));
            hits += stops.hit() ? 1 : 0;
        }
        assertThat(hits).isBetween(2_000, 18_000);
    }

    /** The definition, on the whole text: up to the first stop string to end, the longest of those that end there. */
    private static String before(String text, List<String> stops) {
        for (int end = 1; end <= text.length(); end++) {
            String head = text.substring(0, end);
            int longest = stops.stream().filter(head::endsWith).mapToInt(String::length).max().orElse(0);
            if (longest > 0) {
                return head.substring(0, end - longest);
            }
        }
        return text;
    }

    private static String letters(SplittableRandom random, int length) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            text.append("abc".charAt(random.nextInt(3)));
        }
        return text.toString();
    }

    private static String show(StopStrings stops, List<String> pieces) {
        StringBuilder shown = new StringBuilder();
        pieces.forEach(piece -> shown.append(stops.accept(piece)));
        return shown + stops.finish();
    }
}
