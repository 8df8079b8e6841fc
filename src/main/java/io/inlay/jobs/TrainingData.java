package io.inlay.jobs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.model.ChatMessage;
import io.inlay.model.LlamaModel;
import io.inlay.tuning.EvaluationExample;
import io.inlay.tuning.Metric;
import io.inlay.tuning.TuningExample;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * JSONL into token ids. Each line is a JSON object in one of three forms, which may be mixed:
 * <ul>
 * <li>chat, {@code {"messages": [{"role": ..., "content": ...}, ...]}}: rendered by the model's chat template; loss on the last message,
 * which must be the assistant's;
 * <li>{@code {"prompt": ..., "completion": ...}}: loss on the completion;
 * <li>instruction, {@code {"instruction": ..., "input": ..., "output": ...}} (input may be empty or absent): put into the Alpaca prompt,
 * loss on the output.
 * </ul>
 * For metrics a line may also have the {@code answer} itself beside the text that gives it, as LLM-Adapters' records do. Their prompt is
 * Alpaca's too, but for white space: they indent its lines by 16 spaces and end its first line with two in training and one in evaluation.
 * Here it is Alpaca's own, the same when trained and when asked.
 *
 * <p>The prompt begins with the tokenizer's special tokens, the answer ends with the end token, and the two are tokenized apart, as they
 * are when the tuned model is asked.
 */
public final class TrainingData {

    private static final int ERRORS_SHOWN = 10;
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private static final String INSTRUCTION = """
            Below is an instruction that describes a task. Write a response that appropriately completes the request.

            ### Instruction:
            %s

            ### Response:
            """;
    private static final String INSTRUCTION_WITH_INPUT = """
            Below is an instruction that describes a task, paired with an input that provides further context. Write a response that \
            appropriately completes the request.

            ### Instruction:
            %s

            ### Input:
            %s

            ### Response:
            """;

    private final LlamaModel model;

    public TrainingData(LlamaModel model) {
        this.model = model;
    }

    /**
     * Reads a whole file.
     *
     * @param name for messages
     * @throws Problem {@code INVALID_TRAINING_FILE} with the first faulty lines, each with its number and what is wrong
     */
    public List<TuningExample> read(String name, byte[] content) {
        return lines(name, content, line -> join(question(line)));
    }

    /**
     * Reads a whole file as questions for these metrics, all of which must be able to judge every line.
     *
     * @throws Problem as {@link #read}
     */
    public List<EvaluationExample> evaluation(String name, byte[] content, Set<Metric> metrics) {
        return lines(name, content, line -> {
            Question question = question(line);
            join(question);
            EvaluationExample example = new EvaluationExample(question.prompt(), question.reference(), question.label());
            for (Metric metric : metrics) {
                String objection = metric.objection(example).orElse(null);
                if (objection != null) {
                    throw new Fault(objection);
                }
            }
            return example;
        });
    }

    /** What a line asks and how it is to be answered. */
    private record Question(int[] prompt, String answer, String reference, Optional<String> label) {
    }

    private interface LineReader<T> {
        T read(String line) throws Fault;
    }

    private static <T> List<T> lines(String name, byte[] content, LineReader<T> reader) {
        List<T> examples = new ArrayList<>();
        List<String> faults = new ArrayList<>();
        int faulty = 0;
        int number = 0;
        for (int from = 0; from < content.length; number++) {
            int to = from;
            while (to < content.length && content[to] != '\n') {
                to++;
            }
            try {
                String line = text(content, from, to);
                if (!line.isBlank()) {
                    examples.add(reader.read(line));
                }
            } catch (Fault fault) {
                if (faulty++ < ERRORS_SHOWN) {
                    faults.add("line " + (number + 1) + ": " + fault.getMessage());
                }
            }
            from = to + 1;
        }
        if (faulty > 0) {
            throw new Problem(Problem.Code.INVALID_TRAINING_FILE, name + " has " + faulty + " faulty line" + (faulty == 1 ? "" : "s") + ": "
                    + String.join("; ", faults) + (faulty > ERRORS_SHOWN ? "; and " + (faulty - ERRORS_SHOWN) + " more" : ""));
        }
        if (examples.isEmpty()) {
            throw new Problem(Problem.Code.INVALID_TRAINING_FILE, name + " is empty: it has no example; write one JSON object a line");
        }
        return examples;
    }

    /** One line; the mark that some editors put at a file's beginning is not part of it. */
    private static String text(byte[] content, int from, int to) throws Fault {
        try {
            String line = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content, from, to - from)).toString();
            return from == 0 && line.startsWith("\uFEFF") ? line.substring(1) : line;
        } catch (CharacterCodingException notUtf8) {
            throw new Fault("not UTF-8 text");
        }
    }

    /** What is wrong with a line. */
    private static final class Fault extends Exception {
        private static final long serialVersionUID = 1;

        private Fault(String message) {
            super(message);
        }
    }

    private Question question(String line) throws Fault {
        JsonNode json;
        try {
            json = JSON.readTree(line);
        } catch (JsonProcessingException malformed) {
            throw new Fault("not JSON: " + malformed.getOriginalMessage());
        }
        if (!json.isObject()) {
            throw new Fault("not a JSON object");
        }
        if (json.has("messages")) {
            return chat(json.get("messages"), label(json));
        }
        if (json.has("prompt") || json.has("completion")) {
            return new Question(model.tokenizer().encode(string(json, "prompt"), true), string(json, "completion"),
                    string(json, "completion"), label(json));
        }
        if (json.has("instruction") || json.has("output")) {
            String input = json.hasNonNull("input") ? string(json, "input") : "";
            String instruction = string(json, "instruction");
            String prompt = input.isEmpty() ? INSTRUCTION.formatted(instruction) : INSTRUCTION_WITH_INPUT.formatted(instruction, input);
            return new Question(model.tokenizer().encode(prompt, true), string(json, "output"), string(json, "output"), label(json));
        }
        throw new Fault("has none of messages, prompt and completion, instruction and output");
    }

    private static Optional<String> label(JsonNode json) throws Fault {
        JsonNode answer = json.path("answer");
        if (!answer.isMissingNode() && !answer.isNull() && !answer.isTextual() && !answer.isNumber()) {
            throw new Fault("answer is neither a string nor a number");
        }
        return answer.isMissingNode() || answer.isNull() ? Optional.empty() : Optional.of(answer.asText());
    }

    private Question chat(JsonNode json, Optional<String> label) throws Fault {
        List<ChatMessage> messages = new ArrayList<>();
        for (JsonNode each : json) {
            messages.add(new ChatMessage(string(each, "role"), string(each, "content")));
        }
        if (!json.isArray() || messages.size() < 2 || !messages.getLast().role().equals("assistant")) {
            throw new Fault("messages must be a list of two or more that ends with the assistant's");
        }
        try {
            String prompt = model.chatTemplate().render(messages.subList(0, messages.size() - 1), true);
            String whole = model.chatTemplate().render(messages, false);
            // The template's own end of turn is what the model must learn to say; what the template writes behind it is not.
            String answer = whole.startsWith(prompt) ? whole.substring(prompt.length()) : messages.getLast().content();
            return new Question(model.tokenizer().encode(prompt, false), answer, messages.getLast().content(), label);
        } catch (Problem refused) {
            throw new Fault(refused.getMessage());
        }
    }

    private static String string(JsonNode json, String field) throws Fault {
        JsonNode value = json.get(field);
        if (value == null || !value.isTextual()) {
            throw new Fault(field + (value == null ? " is missing" : " is not a string"));
        }
        return value.asText();
    }

    /** Up to and with the first end token; the model's first one is put behind where there is none. */
    private int[] ended(int[] ids) {
        for (int i = 0; i < ids.length; i++) {
            if (model.tokenizer().eos().contains(ids[i])) {
                return Arrays.copyOf(ids, i + 1);
            }
        }
        int end = model.tokenizer().eos().stream().mapToInt(Integer::intValue).min().orElse(-1);
        if (end < 0) {
            return ids;
        }
        int[] closed = Arrays.copyOf(ids, ids.length + 1);
        closed[ids.length] = end;
        return closed;
    }

    private TuningExample join(Question question) throws Fault {
        int[] prompt = question.prompt();
        int[] completion = ended(model.tokenizer().encode(question.answer(), false));
        if (completion.length == 0 || model.tokenizer().eos().contains(completion[0])) {
            throw new Fault("the answer is empty; there is nothing to learn");
        }
        int length = prompt.length + completion.length;
        if (length > model.maxContext()) {
            throw new Fault("has " + length + " tokens; model " + model.name() + " reads at most " + model.maxContext());
        }
        int[] tokens = Arrays.copyOf(prompt, length);
        System.arraycopy(completion, 0, tokens, prompt.length, completion.length);
        if (length < 2) {
            throw new Fault("has a single token; there is nothing to predict it from");
        }
        return new TuningExample(tokens, prompt.length);
    }
}
