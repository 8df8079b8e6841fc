package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.tuning.AnswerExtraction.FirstOf;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against what LLM-Adapters' own functions find: see tests/golden/answers. */
class AnswerExtractionTest {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Path PUBLIC = Path.of("../shared/data");

    @Test
    void numbers_are_those_of_the_original() throws IOException {
        for (JsonNode each : golden("numbers")) {
            double expected = each.path("value").asText().equals("inf") ? Double.POSITIVE_INFINITY : each.path("value").asDouble();
            assertThat(AnswerExtraction.NUMBER.in(each.path("text").asText())).as("'%s'", each.path("text").asText()).isEqualTo(expected);
        }
    }

    @Test
    void letters_are_those_of_the_original() throws IOException {
        for (JsonNode each : golden("letters")) {
            assertThat(AnswerExtraction.LETTER.in(each.path("text").asText()).orElse("")).as("'%s'", each.path("text").asText())
                    .isEqualTo(each.path("value").asText());
        }
    }

    @Test
    void words_are_those_of_the_original() throws IOException {
        Map<String, FirstOf> rules = Map.of("boolq", AnswerExtraction.TRUE_FALSE, "piqa", AnswerExtraction.SOLUTION, "social_i_qa",
                AnswerExtraction.ANSWER, "ARC-Challenge", AnswerExtraction.ANSWER, "hellaswag", AnswerExtraction.ENDING, "winogrande",
                AnswerExtraction.OPTION);
        for (JsonNode each : golden("words")) {
            assertThat(rules.get(each.path("data").asText()).in(each.path("text").asText()).orElse("")).as("'%s'",
                    each.path("text").asText())
                    .isEqualTo(each.path("value").asText());
        }
    }

    private static JsonNode golden(String kind) throws IOException {
        JsonNode all = JSON.readTree(Path.of("tests/golden/answers/answers.json").toFile()).get(kind);
        assertThat(all).isNotEmpty();
        return all;
    }

    @ParameterizedTest
    @CsvSource({"true, true|false", "false, true|false", "solution2, solution1|solution2",
            "answer5, answer1|answer2|answer3|answer4|answer5",
            "ending4, ending1|ending2|ending3|ending4", "option1, option1|option2"})
    void a_label_tells_its_rule(String label, String words) {
        assertThat(AnswerExtraction.commonsense(label).orElseThrow().words().pattern()).isEqualTo(words);
    }

    @Test
    void what_is_no_label_has_no_rule() {
        for (String no : List.of("", "True", "answer6", "the answer1", "12")) {
            assertThat(AnswerExtraction.commonsense(no)).isEmpty();
        }
        for (String no : List.of("", "F", "AB", "twelve", "1,000", "12 dollars", "NaN", "inf", "0x1p3", "1d")) {
            assertThat(AnswerExtraction.math(no)).isEmpty();
        }
        for (String number : List.of("12", " 12.0", "-0.5", "1e-3", ".5", "5.")) {
            assertThat(AnswerExtraction.math(number)).contains(AnswerExtraction.NUMBER);
        }
        assertThat(AnswerExtraction.math("E")).contains(AnswerExtraction.LETTER);
    }

    @Test
    void a_number_is_right_within_a_thousandth() {
        assertThat(AnswerExtraction.NUMBER.agrees("so 0.8343 it is", "0.8333333333333334")).isTrue();
        assertThat(AnswerExtraction.NUMBER.agrees("so 0.8344 it is", "0.8333333333333334")).isFalse();
        assertThat(AnswerExtraction.NUMBER.agrees("1,080 eggs", "1080.0")).isTrue();
        assertThat(AnswerExtraction.NUMBER.agrees("nothing", "0")).isFalse();
    }

    // ---- public data, where it is ----

    @Test
    void every_commonsense_record_gives_its_own_answer() throws IOException {
        assumeTrue(Files.isDirectory(PUBLIC.resolve("commonsense")), "the public data sets are not here");
        try (Stream<Path> files = Files.walk(PUBLIC.resolve("commonsense"))) {
            List<Path> all = files.filter(file -> file.toString().endsWith(".json")).toList();
            assertThat(all).hasSizeGreaterThan(8);
            for (Path file : all) {
                for (JsonNode each : JSON.readTree(file.toFile())) {
                    assertThat(right(Metric.COMMONSENSE, each)).as("%s: %s", file, each).isTrue();
                    assertThat(Metric.COMMONSENSE.label(example(each, false))).contains(each.path("answer").asText());
                }
            }
        }
    }

    /** Outputs of these sets were written by a model that was not always right, so the reference is how often Python finds them to be. */
    @ParameterizedTest
    @CsvSource({"AQuA, 109, 254", "AddSub, 370, 395", "MultiArith, 560, 600", "SVAMP, 803, 1000", "SingleEq, 484, 508", "gsm8k, 771, 1319"})
    void as_many_outputs_of_mathematics_agree_with_their_answers_as_by_the_originals_rules(String data, int agree, int records)
            throws IOException {
        Path file = PUBLIC.resolve("math").resolve(data).resolve("test.json");
        assumeTrue(Files.isRegularFile(file), "the public data sets are not here");
        JsonNode all = JSON.readTree(file.toFile());
        assertThat(all).hasSize(records);
        int right = 0;
        for (JsonNode each : all) {
            right += right(Metric.MATH, each) ? 1 : 0;
        }
        assertThat(right).isEqualTo(agree);
    }

    @Test
    void every_gsm8k_solution_gives_its_own_answer() throws IOException {
        for (String part : List.of("train", "test")) {
            Path file = PUBLIC.resolve("gsm8k").resolve(part + ".jsonl");
            assumeTrue(Files.isRegularFile(file), "the public data sets are not here");
            for (String line : Files.readAllLines(file)) {
                String solution = JSON.readTree(line).path("answer").asText();
                String label = solution.substring(solution.indexOf("####") + 4).replace(",", "").strip();
                assertThat(Metric.MATH.right(solution, new EvaluationExample(new int[] {1}, solution,
                        Optional.of(label)))).as(line).isTrue();
            }
        }
    }

    private static boolean right(Metric metric, JsonNode record) {
        return metric.right(record.path("output").asText(), example(record, true));
    }

    private static EvaluationExample example(JsonNode record, boolean labelled) {
        return new EvaluationExample(new int[] {1}, record.path("output").asText(),
                labelled ? Optional.of(record.path("answer").asText()) : Optional.empty());
    }
}
