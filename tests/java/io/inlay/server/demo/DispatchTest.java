package io.inlay.server.demo;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.server.demo.corpus.Words;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class DispatchTest {
    private final List<Dispatch.Question> training = Dispatch.training(1, 2_000);
    private final List<Dispatch.Question> heldOut = Dispatch.heldOut(1, 400);

    @Test
    void senders_towns_and_matters_of_held_out_messages_are_in_no_training_message() {
        for (var words : List.of(Words.NAMES, Words.TOWNS, Words.PARTS, Words.ANIMALS, Words.FOODS, Words.THINGS, Words.JOBS)) {
            var known = occurring(words, training);
            var asked = occurring(words, heldOut);
            assertThat(known).isNotEmpty();
            assertThat(asked).isNotEmpty().doesNotContainAnyElementsOf(known);
        }
    }

    @Test
    void every_question_is_asked_once() {
        assertThat(training).doesNotHaveDuplicates().hasSize(2_000);
        assertThat(heldOut).doesNotHaveDuplicates().hasSize(400);
    }

    @Test
    void the_order_names_desk_urgency_and_sender() {
        for (var question : heldOut) {
            var order = question.answer().split(" ");
            assertThat(order).hasSize(3);
            assertThat(question.prompt()).startsWith("From " + order[2] + " in ");
            var desks = Map.of("K7", Words.PARTS, "M3", Words.ANIMALS, "R5", Words.FOODS, "T9", Words.THINGS, "B2", Words.JOBS);
            assertThat(occurring(desks.get(order[0]), List.of(question))).hasSize(1);
            assertThat(order[1]).isIn("now", "soon", "later");
        }
    }

    @Test
    void no_answer_is_frequent_enough_to_be_guessed() {
        for (var question : heldOut) {
            assertThat(heldOut).filteredOn(other -> other.answer().equals(question.answer())).hasSizeLessThan(400 / 20);
        }
    }

    @Test
    void only_the_exact_answer_on_the_first_line_counts() {
        var question = new Dispatch.Question("From Mara in Lyon:\nWhere is the pump? I am calm.\nOrder:", "K7 later Mara");
        assertThat(question.isAnsweredBy(" K7 later Mara")).isTrue();
        assertThat(question.isAnsweredBy(" K7 later Mara\nFrom Ivo")).isTrue();
        assertThat(question.isAnsweredBy(" K7 later Mara, Lyon")).isFalse();
        assertThat(question.isAnsweredBy(" K7 later mara")).isFalse();
        assertThat(question.isAnsweredBy("")).isFalse();
    }

    /** Those of the words that stand in one of the prompts, as a word of its own. */
    private static Set<String> occurring(List<String> words, List<Dispatch.Question> questions) {
        var all = questions.stream().flatMap(question -> Stream.of(question.prompt().split("\\W+"))).collect(Collectors.toSet());
        return words.stream().filter(all::contains).collect(Collectors.toSet());
    }
}
