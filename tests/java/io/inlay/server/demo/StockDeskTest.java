package io.inlay.server.demo;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class StockDeskTest {
    private final List<StockDesk.Question> training = StockDesk.training(1, 2_000);
    private final List<StockDesk.Question> heldOut = StockDesk.heldOut(1, 400);

    @Test
    void held_out_sheets_share_no_word_with_training_sheets() {
        assertThat(cells(heldOut)).doesNotContainAnyElementsOf(cells(training));
        assertThat(heldOut).extracting(StockDesk.Question::answer).doesNotContainAnyElementsOf(
                training.stream().map(StockDesk.Question::answer).toList());
    }

    @Test
    void every_question_is_asked_once() {
        assertThat(training).doesNotHaveDuplicates().hasSize(2_000);
        assertThat(heldOut).doesNotHaveDuplicates().hasSize(400);
    }

    @Test
    void the_answer_stands_in_the_row_of_the_part_that_is_asked_for() {
        for (var question : heldOut) {
            var lines = question.prompt().lines().toList();
            String part = lines.getLast().split(" ")[1];
            assertThat(lines).filteredOn(line -> line.endsWith(", " + part)).singleElement().asString().contains(question.answer());
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
        var question = new StockDesk.Question("- K31, Mara, Lyon, 42, pump\nOWN pump >", "Mara");
        assertThat(question.isAnsweredBy(" Mara")).isTrue();
        assertThat(question.isAnsweredBy(" Mara\nOWN pump > Ivo")).isTrue();
        assertThat(question.isAnsweredBy(" Mara, Lyon")).isFalse();
        assertThat(question.isAnsweredBy(" mara")).isFalse();
        assertThat(question.isAnsweredBy("")).isFalse();
    }

    private static Set<String> cells(List<StockDesk.Question> questions) {
        var cells = new HashSet<String>();
        for (var question : questions) {
            question.prompt().lines().filter(line -> line.startsWith("- ")).forEach(line -> cells.addAll(List.of(line.substring(2).split(", "))));
        }
        return cells;
    }
}
