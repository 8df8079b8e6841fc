package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.access.Role;
import io.inlay.generation.ModelCatalog;
import io.inlay.model.LlamaModel;
import io.smallrye.common.annotation.RunOnVirtualThread;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.eclipse.microprofile.openapi.annotations.Operation;

/** Texts as vectors: the mean of a model's hidden states behind its last norm, of length 1 as OpenAI's are. */
@Path("/v1")
@RunOnVirtualThread
public class EmbeddingsResource {

    private final ModelCatalog catalog;
    private final Caller caller;
    private final AnswerLimits limits;

    EmbeddingsResource(ModelCatalog catalog, Caller caller, AnswerLimits limits) {
        this.catalog = catalog;
        this.caller = caller;
        this.limits = limits;
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record EmbeddingRequest(String model, JsonNode input, String encoding_format, Integer dimensions) {
    }

    /** {@code embedding} is numbers, or little-endian fp32 in base64. */
    record Embedding(String object, int index, Object embedding) {
    }

    record EmbeddingUsage(int prompt_tokens, int total_tokens) {
    }

    record Embeddings(String object, List<Embedding> data, String model, EmbeddingUsage usage) {
    }

    @POST
    @Path("/embeddings")
    @Allowed({Role.OWNER, Role.READER})
    @Operation(summary = "Embeds texts")
    public Embeddings embed(EmbeddingRequest body) {
        AnswerFields.requireBody(body);
        ModelCatalog.Resolved resolved = catalog.resolve(caller.tenant(), AnswerFields.requireModel(body.model()));
        LlamaModel model = resolved.engine().model();
        String format = body.encoding_format() == null ? "float" : body.encoding_format();
        if (!format.equals("float") && !format.equals("base64")) {
            throw Prompts.invalid("encoding_format is '" + format + "'; it must be float or base64");
        }
        if (body.dimensions() != null && body.dimensions() != model.config().hiddenSize()) {
            throw Prompts.invalid("dimensions is " + body.dimensions() + "; model " + model.name() + " has " + model.config().hiddenSize()
                    + " and was not made to be cut: leave it out");
        }
        List<Embedding> data = new ArrayList<>();
        int tokens = 0;
        for (int[] text : Prompts.read(model, "input", body.input(), limits.maxItems())) {
            float[] vector = resolved.passages().embedding(text, resolved.delta());
            data.add(new Embedding("embedding", data.size(), format.equals("float") ? vector : base64(vector)));
            tokens += text.length;
        }
        return new Embeddings("list", data, body.model(), new EmbeddingUsage(tokens, tokens));
    }

    private static String base64(float[] vector) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * vector.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(vector);
        return Base64.getEncoder().encodeToString(bytes.array());
    }
}
