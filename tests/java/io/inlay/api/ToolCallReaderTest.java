package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Calls in the ways of several models' templates, and texts that are none; whole and a character at a time. */
class ToolCallReaderTest {

    private static String read(List<String> pieces) {
        ToolCallReader reader = new ToolCallReader(Set.of("f", "g"));
        StringBuilder text = new StringBuilder();
        pieces.forEach(piece -> text.append(reader.accept(piece)));
        text.append(reader.finish());
        String calls = reader.calls().stream().map(call -> call.index() + call.function().name() + call.function().arguments())
                .collect(Collectors.joining(" "));
        return text + "|" + calls;
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', quoteCharacter = '`', value = {
        "{\"name\": \"f\", \"parameters\": {\"a\": 1}} ; |0f{\"a\":1}",
        " {\"name\": \"f\", \"arguments\": {\"a\": [1, \"x}\"]}}~ ; |0f{\"a\":[1,\"x}\"]}",
        "<|python_tag|>{\"name\": \"g\", \"parameters\": {}} ; |0g{}",
        "{\"name\": \"f\", \"parameters\": {}}^ {\"name\": \"g\", \"parameters\": {}} ; |0f{} 1g{}",
        "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"b\": null}}] ; |0f{} 1g{\"b\":null}",
        "<tool_call>~{\"name\": \"f\", \"arguments\": {\"a\": 1}}~</tool_call> ; |0f{\"a\":1}",
        "See.~<tool_call>{\"name\": \"f\"}</tool_call>~<tool_call>{\"name\": \"g\", \"arguments\": \"{}\"}</tool_call> ; See.~|0f{} 1g{}",
        "<tool_call>{\"name\": \"f\", \"arguments\": {}} ; |0f{}",
        "Hello < there ; Hello < there|",
        "{\"name\": \"unknown\", \"parameters\": {}} ; {\"name\": \"unknown\", \"parameters\": {}}|",
        "{\"name\": \"f\", \"parameters\": {}} and more ; {\"name\": \"f\", \"parameters\": {}} and more|",
        "{\"a\": 1} ; {\"a\": 1}|",
        "{\"name\": \"f\", ; {\"name\": \"f\",|",
        "[1, 2] ; [1, 2]|",
        "<tool_call>{\"name\": \"unknown\"}</tool_call> ; <tool_call>{\"name\": \"unknown\"}</tool_call>|",
        "a <tool_cal ; a <tool_cal|"})
    void calls_are_found_and_all_else_is_text(String text, String expected) {
        String plain = text.replace('~', '\n').replace('^', ';');
        assertThat(read(List.of(plain))).isEqualTo(expected.replace('~', '\n'));
        assertThat(read(plain.chars().mapToObj(c -> String.valueOf((char) c)).toList())).isEqualTo(expected.replace('~', '\n'));
    }
}
