package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Templates that models are published with, on conversations with tools and without, against transformers: tests/golden/chat/public. */
class PublicTemplatesTest {

    private static final Path FOLDER = Path.of("tests/golden/chat/public");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final TypeReference<List<Map<String, Object>>> LIST = new TypeReference<>() {
    };

    static Stream<Arguments> renderings() throws IOException {
        JsonNode golden = JSON.readTree(FOLDER.resolve("renderings.json").toFile());
        Map<String, String> tokens = new HashMap<>();
        golden.get("tokens").properties().forEach(token -> tokens.put(token.getKey(), token.getValue().asText()));
        ZoneId zone = ZoneId.of("UTC");
        Clock clock = Clock.fixed(LocalDateTime.parse(golden.get("now").asText()).atZone(zone).toInstant(), zone);
        Map<String, ChatTemplate> templates = new HashMap<>();
        List<Arguments> all = new ArrayList<>();
        for (JsonNode each : golden.get("renderings")) {
            String file = each.get("template").asText();
            if (!templates.containsKey(file)) {
                templates.put(file, new ChatTemplate("m", Files.readString(FOLDER.resolve(file)), tokens, clock));
            }
            all.add(Arguments.of(file, each.get("conversation").asText(), each.get("add_generation_prompt").asBoolean(),
                    templates.get(file), each));
        }
        return all.stream();
    }

    @ParameterizedTest(name = "{0}: {1}, prompt {2}")
    @MethodSource("renderings")
    void a_conversation_is_rendered_as_transformers_renders_it(String file, String conversation, boolean prompt, ChatTemplate template,
            JsonNode expected) {
        List<Map<String, Object>> messages = JSON.convertValue(expected.get("messages"), LIST);
        List<Map<String, Object>> tools = expected.get("tools").isNull() ? List.of() : JSON.convertValue(expected.get("tools"), LIST);
        if (expected.has("refusal")) {
            assertThatThrownBy(() -> template.render(messages, tools, prompt))
                    .hasMessage("the chat template of model m refuses these messages: " + expected.get("refusal").asText());
        } else {
            assertThat(template.render(messages, tools, prompt)).isEqualTo(expected.get("text").asText());
        }
    }
}
