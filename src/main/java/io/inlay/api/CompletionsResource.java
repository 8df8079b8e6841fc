package io.inlay.api;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.Problem;
import io.inlay.access.Role;
import io.inlay.generation.GenerationRequest;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.Sampling;
import io.inlay.model.ChatMessage;
import io.inlay.model.LlamaModel;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.core.Response;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Text from models: completions of a prompt, and answers in a conversation. */
@Path("/v1")
@RunOnVirtualThread
public class CompletionsResource {

    /** OpenAI's default for completions. */
    private static final int COMPLETION_TOKENS = 16;

    private static final int MAX_STOPS = 16;

    private final ModelCatalog catalog;
    private final Caller caller;
    private final Answers answers;
    private final AnswerLimits limits;

    CompletionsResource(ModelCatalog catalog, Caller caller, Answers answers, AnswerLimits limits) {
        this.catalog = catalog;
        this.caller = caller;
        this.answers = answers;
        this.limits = limits;
    }

    @POST
    @Path("/completions")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Continues a prompt")
    public Response complete(Wire.CompletionRequest body) {
        requireBody(body);
        requireOne("n", body.n());
        requireOne("best_of", body.best_of());
        requireNothing("logprobs", body.logprobs() != null && body.logprobs() > 0);
        requireNothing("echo", Boolean.TRUE.equals(body.echo()));
        requireNothing("suffix", body.suffix() != null && !body.suffix().isEmpty());
        requireNoPenalties(body.frequency_penalty(), body.presence_penalty(), body.logit_bias());
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        GenerationRequest request = new GenerationRequest(resolved.delta(), prompt(model, body.prompt()),
                sampling(body.temperature(), body.top_p(), body.top_k(), body.seed()),
                length("max_tokens", body.max_tokens(), COMPLETION_TOKENS), stops(body.stop()));
        return answers.answer(resolved, request, new AnswerShape.Text(body.model()), streams(body.stream()), usage(body.stream_options()));
    }

    @POST
    @Path("/chat/completions")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Answers in a conversation")
    public Response chat(Wire.ChatRequest body) {
        requireBody(body);
        requireOne("n", body.n());
        requireNothing("logprobs", Boolean.TRUE.equals(body.logprobs()));
        requireNothing("tools", body.tools() != null && !body.tools().isEmpty());
        requireNothing("response_format", body.response_format() != null && !body.response_format().isNull()
                && !body.response_format().path("type").asText().equals("text"));
        requireNoPenalties(body.frequency_penalty(), body.presence_penalty(), body.logit_bias());
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        int[] prompt = model.tokenizer().encode(model.chatTemplate().render(messages(body.messages()), true), false);
        String field = body.max_completion_tokens() == null ? "max_tokens" : "max_completion_tokens";
        Integer asked = body.max_completion_tokens() == null ? body.max_tokens() : body.max_completion_tokens();
        GenerationRequest request = new GenerationRequest(resolved.delta(), prompt,
                sampling(body.temperature(), body.top_p(), body.top_k(), body.seed()),
                length(field, asked, Math.max(1, model.maxContext() - prompt.length)), stops(body.stop()));
        return answers.answer(resolved, request, new AnswerShape.Chat(body.model()), streams(body.stream()), usage(body.stream_options()));
    }

    private static void requireBody(Object body) {
        if (body == null) {
            throw invalid("the body is missing; send a JSON object");
        }
    }

    private static String requireModel(String model) {
        if (model == null || model.isBlank()) {
            throw invalid("the body has no field 'model'; GET /v1/models lists those that you can use");
        }
        return model;
    }

    private static void requireOne(String field, Integer n) {
        if (n != null && n != 1) {
            throw invalid(field + " is " + n + "; this server gives one answer a request");
        }
    }

    /** What would change the answer is refused rather than ignored. */
    private static void requireNothing(String field, boolean asked) {
        if (asked) {
            throw invalid(field + " is not supported by this server yet; leave it out");
        }
    }

    private static void requireNoPenalties(Double frequency, Double presence, JsonNode bias) {
        requireNothing("frequency_penalty", frequency != null && frequency != 0);
        requireNothing("presence_penalty", presence != null && presence != 0);
        requireNothing("logit_bias", bias != null && !bias.isEmpty());
    }

    /** Tokens that the answer may have; what the request leaves open ends at the server's limit. */
    private int length(String field, Integer asked, int otherwise) {
        if (asked == null) {
            return Math.min(otherwise, limits.maxTokens());
        }
        if (asked < 1 || asked > limits.maxTokens()) {
            throw invalid(field + " is " + asked + "; it must be 1 to " + limits.maxTokens() + " (inlay.generation.max-tokens)");
        }
        return asked;
    }

    /** A text, or token ids. */
    private static int[] prompt(LlamaModel model, JsonNode prompt) {
        if (prompt == null || prompt.isNull()) {
            throw invalid("the body has no field 'prompt'; give a text, or a list of token ids");
        }
        JsonNode only = prompt.isArray() && prompt.size() == 1 && !prompt.get(0).isNumber() ? prompt.get(0) : prompt;
        if (only.isTextual()) {
            return model.tokenizer().encode(only.asText(), true);
        }
        if (!only.isArray() || only.isEmpty()) {
            throw invalid("prompt is of the wrong type; give one text, or a list of token ids");
        }
        int[] ids = new int[only.size()];
        for (int i = 0; i < ids.length; i++) {
            JsonNode id = only.get(i);
            if (!id.canConvertToInt() || !id.isIntegralNumber() || id.intValue() < 0 || id.intValue() >= model.config().vocabularySize()) {
                throw invalid("prompt[" + i + "] is " + id + "; token ids are whole numbers from 0 to "
                        + (model.config().vocabularySize() - 1) + ", and only one prompt is taken a request");
            }
            ids[i] = id.intValue();
        }
        return ids;
    }

    private List<ChatMessage> messages(List<Wire.Message> messages) {
        if (messages == null || messages.isEmpty()) {
            throw invalid("the body has no field 'messages', or an empty one; give at least one message");
        }
        requireFew("messages", messages.size());
        List<ChatMessage> plain = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            Wire.Message message = messages.get(i);
            if (message == null || message.role() == null) {
                throw invalid("messages[" + i + "] has no field 'role'; it is system, user or assistant");
            }
            plain.add(new ChatMessage(message.role(), content(message.content(), i)));
        }
        return plain;
    }

    private void requireFew(String field, int items) {
        if (items > limits.maxItems()) {
            throw invalid(field + " has " + items + " items; at most " + limits.maxItems() + " are taken (inlay.limits.list-items)");
        }
    }

    /** A text, or OpenAI's list of text parts. */
    private String content(JsonNode content, int index) {
        if (content != null && content.isTextual()) {
            return content.asText();
        }
        if (content == null || !content.isArray()) {
            throw invalid("messages[" + index + "] has no field 'content' that is a text");
        }
        requireFew("messages[" + index + "].content", content.size());
        StringBuilder text = new StringBuilder();
        for (JsonNode part : content) {
            if (!part.path("type").asText().equals("text")) {
                throw invalid("messages[" + index + "] has a part of type '" + part.path("type").asText() + "'; only text is taken");
            }
            text.append(part.path("text").asText());
        }
        return text.toString();
    }

    private static Sampling sampling(Double temperature, Double topP, Integer topK, Long seed) {
        return new Sampling(temperature == null ? 1 : temperature, topP == null ? 1 : topP, topK == null ? 0 : Math.max(0, topK),
                seed == null ? OptionalLong.empty() : OptionalLong.of(seed));
    }

    private static List<String> stops(JsonNode stop) {
        List<String> stops = new ArrayList<>();
        if (stop != null && stop.isTextual()) {
            stops.add(stop.asText());
        } else if (stop != null && !stop.isNull()) {
            if (!stop.isArray()) {
                throw invalid("stop is " + stop + "; it must be a text, or a list of texts");
            }
            for (JsonNode each : stop) {
                if (!each.isTextual()) {
                    throw invalid("stop holds " + each + "; it must be a text, or a list of texts");
                }
                stops.add(each.asText());
            }
        }
        if (stops.size() > MAX_STOPS) {
            throw invalid("stop has " + stops.size() + " texts; at most " + MAX_STOPS + " are taken");
        }
        return stops;
    }

    private static boolean streams(Boolean stream) {
        return Boolean.TRUE.equals(stream);
    }

    private static boolean usage(Wire.StreamOptions options) {
        return options != null && Boolean.TRUE.equals(options.include_usage());
    }

    private static Problem invalid(String message) {
        return new Problem(Problem.Code.INVALID_REQUEST, message);
    }
}
