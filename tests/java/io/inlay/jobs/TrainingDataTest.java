package io.inlay.jobs;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.EvaluationExample;
import io.inlay.tuning.Metric;
import io.inlay.tuning.TuningExample;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Lines into examples, with the embedded model's tokenizer. */
class TrainingDataTest {

    private static final String BOOLQ = "{\"instruction\": \"Please answer with true or false, question: is it?\\n\\nAnswer format: "
            + "true/false\", "
            + "\"input\": \"\", \"output\": \"the correct answer is true\", \"answer\": \"true\"}\n";

    private static LlamaModel model;

    @BeforeAll
    static void open() {
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("model-store/base/inlay-tiny"), ModelOptions.defaults());
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @Test
    void an_instruction_stands_in_alpacas_prompt() {
        assertThat(prompt(BOOLQ)).isEqualTo("Below is an instruction that describes a task. Write a response that appropriately "
                + "completes the "
                + "request.\n\n### Instruction:\nPlease answer with true or false, question: is it?\n\nAnswer format: true/false\n\n"
                + "### Response:\n");
        assertThat(prompt(BOOLQ.replace("\"input\": \"\"", "\"input\": \"It rains.\""))).isEqualTo("Below is an instruction that "
                + "describes a "
                + "task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n"
                + "### Instruction:\nPlease answer with true or false, question: is it?\n\nAnswer format: true/false\n\n"
                + "### Input:\nIt rains.\n\n### Response:\n");
    }

    private static String prompt(String line) {
        return model.tokenizer().decode(evaluation(line, Metric.EXACT_MATCH).getFirst().prompt());
    }

    @Test
    void what_is_asked_in_an_evaluation_is_what_is_read_before_the_answer_in_training() {
        for (String line : List.of(BOOLQ, "{\"prompt\": \"sky is\", \"completion\": \" blue\"}\n",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"sky?\"}, {\"role\": \"assistant\", \"content\": \"blue\"}]}\n")) {
            TuningExample trained = new TrainingData(model).read("data", line.getBytes(StandardCharsets.UTF_8)).getFirst();
            EvaluationExample asked = evaluation(line, Metric.EXACT_MATCH).getFirst();
            assertThat(asked.prompt()).isEqualTo(Arrays.copyOf(trained.tokens(), trained.promptLength()));
            int[] answer = Arrays.copyOfRange(trained.tokens(), trained.promptLength(), trained.tokens().length);
            assertThat(model.tokenizer().decode(answer).strip()).as(line).isEqualTo(asked.reference().strip());
        }
    }

    @Test
    void an_answer_beside_the_text_is_the_label_and_may_be_a_number() {
        assertThat(evaluation(BOOLQ, Metric.COMMONSENSE).getFirst().label()).contains("true");
        assertThat(evaluation("{\"prompt\": \"a\", \"completion\": \"b\", \"answer\": 12.5}\n",
                Metric.MATH).getFirst().label()).contains("12.5");
        assertThat(evaluation("{\"prompt\": \"a\", \"completion\": \"it is 7\", \"answer\": null}\n",
                Metric.MATH).getFirst().label()).isEmpty();
        assertThat(evaluation("{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"(B)\"}], "
                + "\"answer\": \"B\"}\n", Metric.MATH).getFirst().label()).contains("B");
    }

    @Test
    void lines_that_a_metric_cannot_judge_are_listed() {
        assertThatThrownBy(() -> evaluation(BOOLQ + "{\"prompt\": \"a\", \"completion\": \"maybe\"}\n", Metric.EXACT_MATCH,
                Metric.COMMONSENSE)).isInstanceOf(Problem.class).hasMessage("data has 1 faulty line: line 2: metric commonsense: no "
                + "answer is "
                        + "given, and none is found in the output; it must be true, false, solution1-2, answer1-5, ending1-4 or option1-2");
    }

    private static List<EvaluationExample> evaluation(String lines, Metric first, Metric... more) {
        Set<Metric> metrics = EnumSet.of(first, more);
        return new TrainingData(model).evaluation("data", lines.getBytes(StandardCharsets.UTF_8), metrics);
    }
}
