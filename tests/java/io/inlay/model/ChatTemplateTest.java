package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Renderings against transformers': see tests/golden/chat. */
class ChatTemplateTest {

    private static final Path FOLDER = Path.of("tests/golden/chat");

    static Stream<Arguments> renderings() throws IOException {
        List<Arguments> all = new ArrayList<>();
        for (JsonNode each : golden().get("renderings")) {
            all.add(Arguments.of(each.get("template").asText(), each.get("conversation").asText(),
                    each.get("add_generation_prompt").asBoolean(), each));
        }
        return all.stream();
    }

    @ParameterizedTest(name = "{0}: {1}, prompt {2}")
    @MethodSource("renderings")
    void a_conversation_is_rendered_as_transformers_renders_it(String file, String conversation, boolean prompt, JsonNode expected)
            throws IOException {
        JsonNode golden = golden();
        Map<String, String> tokens = new HashMap<>();
        golden.get("tokens").properties().forEach(token -> tokens.put(token.getKey(), token.getValue().asText()));
        ZoneId zone = ZoneId.of("Asia/Tokyo");
        Clock clock = Clock.fixed(LocalDateTime.parse(golden.get("now").asText()).atZone(zone).toInstant(), zone);
        ChatTemplate template = new ChatTemplate("m", Files.readString(FOLDER.resolve(file)), tokens, clock);
        List<ChatMessage> messages = new ArrayList<>();
        expected.get("messages").forEach(each -> messages.add(new ChatMessage(each.get("role").asText(), each.get("content").asText())));
        if (expected.has("refusal")) {
            assertThatThrownBy(() -> template.render(messages, prompt)).isInstanceOfSatisfying(Problem.class,
                    problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_REQUEST))
                    .hasMessage("the chat template of model m refuses these messages: " + expected.get("refusal").asText());
        } else {
            assertThat(template.render(messages, prompt)).isEqualTo(expected.get("text").asText());
        }
    }

    @Test
    void dates_are_written_as_python_writes_them() throws IOException {
        for (JsonNode date : golden().get("dates")) {
            LocalDateTime moment = LocalDateTime.parse(date.get(0).asText());
            assertThat(ChatTemplate.strftime(date.get(1).asText(), moment)).isEqualTo(date.get(2).asText());
        }
        assertThat(ChatTemplate.strftime("100% of %Q %", LocalDateTime.of(2026, 1, 1, 0, 0))).isEqualTo("100% of %Q %");
    }

    @Test
    void a_model_without_a_template_gets_a_plain_one(@TempDir Path folder) {
        List<ChatMessage> messages = List.of(new ChatMessage("user", "Hi {{ 1 + 1 }}\n"), new ChatMessage("assistant", " Hello"));
        assertThat(ChatTemplate.open(folder).render(messages, true)).isEqualTo("user: Hi {{ 1 + 1 }}\n\nassistant:  Hello\nassistant:");
        assertThat(ChatTemplate.open(folder).render(messages, false)).isEqualTo("user: Hi {{ 1 + 1 }}\n\nassistant:  Hello\n");
    }

    @Test
    void a_template_of_its_own_file_comes_before_that_of_the_configuration(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"),
                "{\"chat_template\": \"configured\", \"bos_token\": {\"content\": \"<b>\"}, \"eos_token\": null}");
        assertThat(ChatTemplate.open(folder).render(List.of(), false)).isEqualTo("configured");
        Files.writeString(folder.resolve("chat_template.jinja"), "{{ bos_token }}file{{ eos_token }}\n");
        assertThat(ChatTemplate.open(folder).render(List.of(), false)).isEqualTo("<b>file");
    }

    @Test
    void of_several_named_templates_the_default_is_taken(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("tokenizer_config.json"), """
                {"chat_template": [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "usual"}]}""");
        assertThat(ChatTemplate.open(folder).render(List.of(), false)).isEqualTo("usual");
    }

    @Test
    void a_template_that_is_no_template_is_refused_when_it_is_rendered(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("chat_template.jinja"), "{% for message in messages %}{{ message.content }}");
        assertThatThrownBy(() -> ChatTemplate.open(folder).render(List.of(new ChatMessage("user", "x")), false))
                .isInstanceOf(Problem.class).hasMessageStartingWith("the chat template of model " + folder.getFileName()
                        + " refuses these messages: ");
    }

    @Test
    void a_condition_in_the_head_of_a_loop_is_refused_rather_than_ignored(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("chat_template.jinja"),
                "{% for message in messages if message.role != 'tool' %}{{ message.content }}{% endfor %}");
        assertThatThrownBy(() -> ChatTemplate.open(folder).render(List.of(new ChatMessage("user", "x")), false))
                .hasMessage("the chat template of model " + folder.getFileName() + " refuses these messages: it has a loop with a "
                        + "condition in its head (for ... in ... if ...), which Inlay does not know; put an if inside of the loop");
    }

    private static JsonNode golden() throws IOException {
        return new ObjectMapper().readTree(FOLDER.resolve("renderings.json").toFile());
    }
}
