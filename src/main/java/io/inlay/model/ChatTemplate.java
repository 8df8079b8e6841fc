package io.inlay.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.hubspot.jinjava.Jinjava;
import com.hubspot.jinjava.JinjavaConfig;
import com.hubspot.jinjava.LegacyOverrides;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.RenderResult;
import com.hubspot.jinjava.interpret.TemplateError;
import com.hubspot.jinjava.lib.fn.ELFunctionDefinition;
import io.inlay.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Renders conversations by the model's own Jinja template (chat_template.jinja, or chat_template in tokenizer_config.json) as
 * transformers does: blocks trimmed, with {@code bos_token}, {@code eos_token}, {@code add_generation_prompt},
 * {@code raise_exception} and {@code strftime_now}. What stands in a message is text, never template.
 *
 * <p>A model without a template gets a plain one: {@code role: content} lines, and {@code assistant:} where the model is to go on.
 */
public final class ChatTemplate {

    static final String PLAIN = """
            {{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}
            {% endfor %}{% if add_generation_prompt %}assistant:{% endif %}""";

    private static final long MAX_CHARACTERS = 16L << 20;
    private static final List<String> TOKENS = List.of("bos_token", "eos_token", "unk_token", "pad_token");
    private static final List<String> FUNCTIONS = List.of("raise_exception", "strftime_now");

    private final String model;
    private final String source;
    private final Map<String, String> tokens;
    private final Jinjava jinjava;

    /**
     * A template by itself.
     *
     * @param model whose it is, for messages
     * @param tokens texts of special tokens by their names in templates
     */
    ChatTemplate(String model, String source, Map<String, String> tokens, Clock clock) {
        this.model = model;
        this.source = TemplateSource.forJinjava(source);
        this.tokens = Map.copyOf(tokens);
        this.jinjava = new Jinjava(JinjavaConfig.newBuilder().withNestedInterpretationEnabled(false).withMaxOutputSize(MAX_CHARACTERS)
                .withElResolver(PythonText.resolver()).withObjectMapper(PythonText.json())
                .withTimeZone(clock.getZone()).withDateTimeProvider(clock::millis)
                .withLegacyOverrides(LegacyOverrides.newBuilder().withUsePyishObjectMapper(true).withUseNaturalOperatorPrecedence(true)
                        .withParseWhitespaceControlStrictly(true).withKeepNullableLoopValues(true).build())
                .build());
        jinjava.getGlobalContext().registerFilter(PythonText.TRIM);
        jinjava.getGlobalContext().registerFilter(new ToJson());
        jinjava.getGlobalContext().registerExpTest(PythonText.ITERABLE);
        for (String function : FUNCTIONS) {
            jinjava.getGlobalContext().registerFunction(new ELFunctionDefinition("", function, ChatTemplate.class,
                    function.equals("raise_exception") ? "refuse" : "now", String.class));
        }
    }

    /** The template of a model folder. */
    public static ChatTemplate open(Path folder) {
        JsonNode config = Tokenizer.tokenizerConfig(folder);
        Map<String, String> tokens = new HashMap<>();
        for (String name : TOKENS) {
            String text = Tokenizer.tokenText(config.path(name));
            if (text != null) {
                tokens.put(name, text);
            }
        }
        String model = folder.toAbsolutePath().normalize().getFileName().toString();
        return new ChatTemplate(model, source(folder, config.path("chat_template")), tokens, Clock.systemDefaultZone());
    }

    private static String source(Path folder, JsonNode configured) {
        Path file = folder.resolve("chat_template.jinja");
        if (Files.isRegularFile(file)) {
            try {
                return Files.readString(file);
            } catch (IOException failure) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " cannot be read: " + failure.getMessage()
                        + "; it must be UTF-8 text", failure);
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
     * The conversation as one text, special tokens spelled out: it is encoded without adding any.
     *
     * @param addGenerationPrompt whether the beginning of the assistant's next turn follows
     * @throws Problem {@code INVALID_REQUEST} when the template refuses the conversation or cannot be rendered
     */
    public String render(List<ChatMessage> messages, boolean addGenerationPrompt) {
        return render(messages.stream().map(each -> Map.<String, Object>of("role", each.role(), "content", each.content())).toList(),
                List.of(), addGenerationPrompt);
    }

    /** Whether the template's source has this text: how it writes tool calls tells how the model does. */
    public boolean mentions(String text) {
        return source.contains(text);
    }

    /**
     * A conversation in which tools may be called.
     *
     * @param messages as transformers passes them: role and content, {@code tool_calls} with arguments as objects, {@code tool_call_id}
     * @param tools as in OpenAI's requests; without any, the template is not told of tools
     * @throws Problem as above
     */
    public String render(List<Map<String, Object>> messages, List<Map<String, Object>> tools, boolean addGenerationPrompt) {
        Map<String, Object> bindings = new HashMap<>(tokens);
        FUNCTIONS.forEach(function -> bindings.put(function, function)); // "is defined" asks for variables, which functions are not
        bindings.put("messages", messages);
        if (!tools.isEmpty()) {
            bindings.put("tools", tools);
        }
        bindings.put("add_generation_prompt", addGenerationPrompt);
        RenderResult result = jinjava.renderForResult(source, bindings);
        for (TemplateError error : result.getErrors()) {
            String reason = error.getException() != null && cause(error.getException()) instanceof Refusal refusal ? refusal.getMessage()
                    : error.getMessage();
            throw new Problem(Problem.Code.INVALID_REQUEST, "the chat template of model " + model + " refuses these messages: " + reason);
        }
        return result.getOutput();
    }

    private static Throwable cause(Throwable thrown) {
        Throwable at = thrown;
        while (!(at instanceof Refusal) && at.getCause() != null) {
            at = at.getCause();
        }
        return at;
    }

    /** What a template says by {@code raise_exception}. */
    private static final class Refusal extends InterpretException {
        Refusal(String message) {
            super(message);
        }
    }

    /** {@code raise_exception(message)}; public because templates call it. */
    public static String refuse(String message) {
        throw new Refusal(message);
    }

    /** {@code strftime_now(format)}; public because templates call it. */
    public static String now(String format) {
        JinjavaConfig config = JinjavaInterpreter.getCurrent().getConfig();
        ZoneId zone = config.getTimeZone();
        return strftime(format, LocalDateTime.ofInstant(Instant.ofEpochMilli(config.getDateTimeProvider().getCurrentTimeMillis()), zone));
    }

    /** Python's strftime in the C locale; a directive that is not among these stays as it is. */
    static String strftime(String format, LocalDateTime moment) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            if (format.charAt(i) != '%' || i + 1 == format.length()) {
                text.append(format.charAt(i));
                continue;
            }
            char directive = format.charAt(++i);
            String pattern = switch (directive) {
                case 'a' -> "EEE";
                case 'A' -> "EEEE";
                case 'd' -> "dd";
                case 'b' -> "MMM";
                case 'B' -> "MMMM";
                case 'm' -> "MM";
                case 'y' -> "uu";
                case 'Y' -> "uuuu";
                case 'H' -> "HH";
                case 'I' -> "hh";
                case 'p' -> "a";
                case 'M' -> "mm";
                case 'S' -> "ss";
                case 'j' -> "DDD";
                default -> null;
            };
            if (pattern != null) {
                text.append(DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH).format(moment));
            } else {
                text.append(directive == '%' ? "%" : "%" + directive);
            }
        }
        return text.toString();
    }
}
