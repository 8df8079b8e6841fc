package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.access.Role;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import java.util.Arrays;
import java.util.List;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Texts as tokens and back, with vLLM's fields. */
@Path("/v1")
@RunOnVirtualThread
public class TokensResource {

    private final ModelCatalog catalog;
    private final Caller caller;
    private final AnswerLimits limits;

    TokensResource(ModelCatalog catalog, Caller caller, AnswerLimits limits) {
        this.catalog = catalog;
        this.caller = caller;
        this.limits = limits;
    }

    /** A prompt, or messages, which go through the chat template. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    record TokenizeRequest(String model, String prompt, List<AnswerWire.Message> messages, Boolean add_special_tokens,
            Boolean add_generation_prompt, Boolean return_token_strs) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Tokens(int count, int max_model_len, int[] tokens, List<String> token_strs) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record DetokenizeRequest(String model, JsonNode tokens) {
    }

    record Text(String prompt) {
    }

    @POST
    @Path("/tokenize")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The tokens of a text or a conversation")
    public Tokens tokenize(TokenizeRequest body) {
        AnswerFields.requireBody(body);
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), AnswerFields.requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        if ((body.prompt() == null) == (body.messages() == null)) {
            throw Prompts.invalid("the body must have one of the fields 'prompt', a text, and 'messages'");
        }
        int[] tokens = body.prompt() != null
                ? model.tokenizer().encode(body.prompt(), !Boolean.FALSE.equals(body.add_special_tokens()))
                : model.tokenizer().encode(model.chatTemplate().render(ChatFields.messages(body.messages(), limits.maxItems()), List.of(),
                        !Boolean.FALSE.equals(body.add_generation_prompt())), Boolean.TRUE.equals(body.add_special_tokens()));
        TokenNames names = new TokenNames(resolved.grammars(), model.tokenizer());
        return new Tokens(tokens.length, model.maxContext(), tokens,
                Boolean.TRUE.equals(body.return_token_strs()) ? Arrays.stream(tokens).mapToObj(names::text).toList() : null);
    }

    @POST
    @Path("/detokenize")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "The text of tokens; special tokens add nothing")
    public Text detokenize(DetokenizeRequest body) {
        AnswerFields.requireBody(body);
        LlamaModel model = catalog.resolve(caller.tenant(), AnswerFields.requireModel(body.model())).engine().model();
        if (body.tokens() == null || !body.tokens().isArray()) {
            throw Prompts.invalid("the body has no field 'tokens' that is a list of token ids");
        }
        return new Text(model.tokenizer().decode(Prompts.ids(model, "tokens", body.tokens())));
    }
}
