package io.inlay.api;

import static io.inlay.api.AnswerFields.given;
import static io.inlay.api.AnswerFields.requireNothing;
import static io.inlay.api.Prompts.invalid;

import io.inlay.access.Role;
import io.inlay.generation.GenerationRequest;
import io.inlay.generation.ModelCatalog;
import io.inlay.generation.Sampling;
import io.inlay.generation.Steering;
import io.inlay.generation.TokenScores;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.model.LlamaModel;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.core.Response;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Text from models: completions of prompts, and answers in a conversation. */
@Path("/v1")
@RunOnVirtualThread
public class CompletionsResource {

    /** OpenAI's default for completions. */
    private static final int COMPLETION_TOKENS = 16;

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
    @Operation(summary = "Continues prompts")
    public Response complete(AnswerWire.CompletionRequest body) {
        AnswerFields.requireBody(body);
        requireNothing("best_of", body.best_of() != null && body.best_of() != 1 && !body.best_of().equals(body.n()),
                "ask for n answers, and "
                + "choose by logprobs");
        requireNothing("suffix", body.suffix() != null && !body.suffix().isEmpty(), "leave it out");
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), AnswerFields.requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        List<int[]> prompts = Prompts.read(model, "prompt", body.prompt(), AnswerFields.MAX_CHOICES);
        int n = AnswerFields.choices(body, prompts.size());
        int alternatives = AnswerFields.alternatives("logprobs", body.logprobs(), body.logprobs() != null);
        Sampling sampling = AnswerFields.sampling(body);
        Steering steering = AnswerFields.steering(body, model, GrammarFields.of(body, resolved.grammars()));
        List<String> stops = AnswerFields.stops(body.stop());
        int length = length("max_tokens", body.max_tokens(), COMPLETION_TOKENS);
        TokenNames names = new TokenNames(resolved.grammars(), model.tokenizer());
        List<Answers.Part> parts = new ArrayList<>();
        for (int[] prompt : prompts) {
            TextAnswer.Echo echo = Boolean.TRUE.equals(body.echo()) ? echo(resolved, prompt, alternatives) : null;
            for (int i = 0; i < n; i++) {
                parts.add(new Answers.Part(new GenerationRequest(resolved.delta(), prompt, sampling.ofChoice(i), length, stops, steering,
                        alternatives), new TextAnswer(parts.size(), echo, names, alternatives >= 0)));
            }
        }
        return answers.answer(caller.tenant(), resolved, parts, AnswerShape.completion(body.model()), prompts.stream()
                .mapToInt(each -> each.length).sum(),
                AnswerFields.streams(body), AnswerFields.usage(body));
    }

    private static TextAnswer.Echo echo(ModelCatalog.Resolved resolved, int[] prompt, int alternatives) {
        List<TokenScores> scores = alternatives < 0 ? List.of() : resolved.passages().scores(prompt, resolved.delta(), alternatives);
        return new TextAnswer.Echo(resolved.engine().model().tokenizer().decode(prompt), prompt, scores);
    }

    @POST
    @Path("/chat/completions")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Answers in a conversation")
    public Response chat(AnswerWire.ChatRequest body) {
        AnswerFields.requireBody(body);
        requireNothing("audio", given(body.audio()), "this server answers in text");
        requireNothing("web_search_options", given(body.web_search_options()), "leave it out");
        if (body.top_logprobs() != null && !Boolean.TRUE.equals(body.logprobs())) {
            throw invalid("top_logprobs is " + body.top_logprobs() + " without logprobs; set logprobs to true");
        }
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), AnswerFields.requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        ToolFields tools = ToolFields.of(body, limits.maxItems());
        List<Map<String, Object>> messages = ChatFields.messages(body.messages(), limits.maxItems());
        int[] prompt = model.tokenizer().encode(model.chatTemplate().render(messages, tools.tools(), true), false);
        int n = AnswerFields.choices(body, 1);
        int alternatives = AnswerFields.alternatives("top_logprobs", body.top_logprobs(), Boolean.TRUE.equals(body.logprobs()));
        Sampling sampling = AnswerFields.sampling(body);
        Steering steering = AnswerFields.steering(body, model, grammar(body, resolved, tools));
        List<String> stops = AnswerFields.stops(body.stop());
        String field = body.max_completion_tokens() == null ? "max_tokens" : "max_completion_tokens";
        Integer asked = body.max_completion_tokens() == null ? body.max_tokens() : body.max_completion_tokens();
        int length = length(field, asked, Math.max(1, model.maxContext() - prompt.length));
        TokenNames names = new TokenNames(resolved.grammars(), model.tokenizer());
        List<Answers.Part> parts = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            ToolCallReader reader = tools.tools().isEmpty() ? null : new ToolCallReader(tools.functions().keySet());
            parts.add(new Answers.Part(new GenerationRequest(resolved.delta(), prompt, sampling.ofChoice(i), length, stops, steering,
                    alternatives),
                    new ChatAnswer(i, names, alternatives >= 0, reader)));
        }
        return answers.answer(caller.tenant(), resolved, parts, AnswerShape.chat(body.model()), prompt.length, AnswerFields.streams(body),
                AnswerFields.usage(body));
    }

    private static Optional<TokenGrammar> grammar(AnswerWire.ChatRequest body, ModelCatalog.Resolved resolved, ToolFields tools) {
        Optional<TokenGrammar> asked = GrammarFields.of(body, resolved.grammars());
        Optional<TokenGrammar> call = tools.grammar(resolved.engine().model().chatTemplate(), resolved.grammars());
        if (asked.isPresent() && !tools.tools().isEmpty()) {
            throw invalid("response_format (or another form of answer) and tools are given together; a call would not have that form: "
                    + "give one of them, or tool_choice none");
        }
        return asked.isPresent() ? asked : call;
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
}
