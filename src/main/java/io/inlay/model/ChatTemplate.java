package io.inlay.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.LegacyOverrides;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.lib.fn.ELFunctionDefinition;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Renders conversations by the model's own Jinja template (chat_template.jinja, or chat_template in tokenizer_config.json), with
 * transformers' settings: blocks are trimmed, {@code bos_token}, {@code eos_token}, {@code add_generation_prompt},
 * {@code raise_exception} and {@code strftime_now} are there. A model without a template gets a plain one: {@code role: content} lines.
 */
public final class ChatTemplate {

    static final String PLAIN = """
            {% for message in messages %}{{ message.role }}: {{ message.content }}
            {% endfor %}{% if add_generation_prompt %}assistant:{% endif %}""";

    private final Jinjava jinjava;
    private final String source;
    private final Path folder;
    private final Map<String, Object> tokens;

    private ChatTemplate(Path folder, String source, Map<String, Object> tokens) {
        this.folder = folder;
        this.source = source;
        this.tokens = tokens;
        this.jinjava = new Jinjava(JinjavaConfig.newBuilder().withTrimBlocks(true).withLstripBlocks(true)
                .withMaxOutputSize(16L << 20)
                .withLegacyOverrides(LegacyOverrides.newBuilder().withUsePyishObjectMapper(true).withUseNaturalOperatorPrecedence(true)
                        .withParseWhitespaceControlStrictly(true).withKeepNullableLoopValues(true).build())
                .build());
        jinjava.getGlobalContext().registerFunction(new ELFunctionDefinition("", "raise_exception", ChatTemplate.class, "refuse", String.class));
        jinjava.getGlobalContext().registerFunction(new ELFunctionDefinition("", "strftime_now", ChatTemplate.class, "now", String.class));
    }

    /** The template of a model folder. */
    public static ChatTemplate open(Path folder) {
        JsonNode config = Tokenizer.tokenizerConfig(folder);
        Map<String, Object> tokens = new HashMap<>();
        for (String name : List.of("bos_token", "eos_token")) {
            String text = Tokenizer.tokenText(config.path(name));
            tokens.put(name, text == null ? "" : text);
        }
        return new ChatTemplate(folder, source(folder, config.path("chat_template")), tokens);
    }

    private static String source(Path folder, JsonNode configured) {
        Path file = folder.resolve("chat_template.jinja");
        if (Files.isRegularFile(file)) {
            try {
                return Files.readString(file);
            } catch (IOException failure) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " cannot be read: " + failure.getMessage(), failure);
            }
        }
        if (configured.isTextual()) {
            return configured.asText();
        }
        for (JsonNode named : configured) {
            if (named.path("name").asText().equals("default")) {
                return named.path("template").asText();
            }
        }
        return PLAIN;
    }

    /**
     * The conversation as one text, special tokens spelled out.
     *
     * @param addGenerationPrompt whether the beginning of the assistant's next turn follows
     * @throws Problem {@code INVALID_REQUEST} when the template refuses the conversation or cannot be rendered
     */
    public String render(List<ChatMessage> messages, boolean addGenerationPrompt) {
        Map<String, Object> bindings = new HashMap<>(tokens);
        bindings.put("messages", messages.stream().map(each -> Map.of("role", each.role(), "content", each.content())).toList());
        bindings.put("add_generation_prompt", addGenerationPrompt);
        RenderResult result = jinjava.renderForResult(source, bindings);
        if (result.hasErrors()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the chat template of " + folder.getFileName()
                    + " refuses these messages: " + result.getErrors().getFirst().getMessage());
        }
        return result.getOutput();
    }

    /** {@code raise_exception(message)} of templates. */
    public static String refuse(String message) {
        throw new InterpretException(message);
    }

    /** {@code strftime_now(format)} of templates, for the directives that public templates use. */
    public static String now(String format) {
        String pattern = format.replace("%d", "dd").replace("%b", "MMM").replace("%B", "MMMM").replace("%Y", "yyyy").replace("%m", "MM")
                .replace("%H", "HH").replace("%M", "mm").replace("%S", "ss");
        return LocalDateTime.now().format(DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH));
    }
}
