package io.inlay.model;

import com.fasterxml.jackson.databind.JsonNode;
import io.inlay.Problem;
import io.inlay.tensor.DType;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;

/**
 * What config.json says of a LLaMA (1, 2, 3, 3.1, 3.2), in the spellings of transformers 4 and 5.
 *
 * @param keyValueHeads G; heads is a multiple of it
 * @param headDim D; even
 * @param maxPositions positions that the model was made for
 * @param tiedEmbeddings whether the head is the embedding
 * @param eos every id that ends a text
 * @param dtype the type that the checkpoint says it has
 */
public record LlamaConfig(int vocabularySize, int hiddenSize, int intermediateSize, int layers, int heads, int keyValueHeads, int headDim,
        double normEpsilon, int maxPositions, double ropeTheta, RopeScaling ropeScaling, boolean tiedEmbeddings, OptionalInt bos,
        Set<Integer> eos, DType dtype) {

    private static final String SUPPORTED = "Inlay serves model_type \"llama\" with architectures [\"LlamaForCausalLM\"] "
            + "(LLaMA 1, 2, 3, 3.1, 3.2)";

    public LlamaConfig {
        if (heads % keyValueHeads != 0 || headDim % 2 != 0) {
            throw new IllegalArgumentException(heads + " heads on " + keyValueHeads + " of even dimension " + headDim);
        }
        eos = Set.copyOf(eos);
    }

    /**
     * Reads {@code config.json}, and {@code generation_config.json} for further end ids.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} or {@code UNSUPPORTED_MODEL}, naming file and field
     */
    public static LlamaConfig parse(Path folder) {
        ConfigFields fields = ConfigFields.read(folder.resolve("config.json"));
        requireSupported(fields);
        int hidden = fields.positive("hidden_size");
        int heads = fields.positive("num_attention_heads");
        int keyValueHeads = fields.positive("num_key_value_heads", heads);
        if (heads % keyValueHeads != 0) {
            throw fields.unsupported("num_key_value_heads", "num_attention_heads, " + heads + ", must be a multiple of it");
        }
        int headDim = fields.positive("head_dim", hidden / heads);
        if (headDim % 2 != 0 || (!fields.has("head_dim") && hidden % heads != 0)) {
            throw fields.has("head_dim") ? fields.unsupported("head_dim", "rotary positions need an even one")
                    : fields.unsupported("hidden_size", "it must be an even multiple of num_attention_heads, " + heads
                            + ", where there is no head_dim");
        }
        int maxPositions = fields.positive("max_position_embeddings", 2048);
        ConfigFields rope = rope(fields);
        ConfigFields generation = ConfigFields.readIfPresent(folder.resolve("generation_config.json"));
        Set<Integer> eos = new LinkedHashSet<>(fields.ids("eos_token_id"));
        eos.addAll(generation.ids("eos_token_id"));
        return new LlamaConfig(fields.positive("vocab_size"), hidden, fields.positive("intermediate_size"),
                fields.positive("num_hidden_layers"), heads, keyValueHeads, headDim, fields.number("rms_norm_eps", 1e-6), maxPositions,
                rope.has("rope_theta") ? rope.number("rope_theta") : fields.number("rope_theta", 10_000), scaling(rope, maxPositions),
                fields.flag("tie_word_embeddings"), fields.has("bos_token_id") ? fields.id("bos_token_id") : generation.id("bos_token_id"),
                eos, dtype(fields));
    }

    private static void requireSupported(ConfigFields fields) {
        if (!fields.text("model_type", "").equals("llama")) {
            throw fields.unsupported("model_type", SUPPORTED);
        }
        JsonNode architectures = fields.json().path("architectures");
        if (!architectures.isMissingNode() && !architectures.isNull() && !architectures.toString().equals("[\"LlamaForCausalLM\"]")) {
            throw fields.unsupported("architectures", SUPPORTED);
        }
        for (String bias : List.of("attention_bias", "mlp_bias")) {
            if (fields.flag(bias)) {
                throw fields.unsupported(bias, "Inlay serves LLaMA, whose linears have no bias");
            }
        }
        if (!fields.text("hidden_act", "silu").equals("silu")) {
            throw fields.unsupported("hidden_act", "Inlay serves LLaMA, whose activation is silu");
        }
        if (fields.has("quantization_config")) {
            throw fields.unsupported("quantization_config", "Inlay needs the bf16, fp16 or fp32 weights");
        }
    }

    /** Rope's fields: transformers 5 has all in rope_parameters, 4 the scaling in rope_scaling. */
    private static ConfigFields rope(ConfigFields fields) {
        return fields.object(fields.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
    }

    private static RopeScaling scaling(ConfigFields rope, int maxPositions) {
        if (rope.number("partial_rotary_factor", 1) != 1) {
            throw rope.unsupported("partial_rotary_factor", "LLaMA rotates whole heads");
        }
        String field = rope.has("rope_type") ? "rope_type" : "type";
        return switch (rope.text(field, "default")) {
            case "default" -> new RopeScaling.None();
            case "linear" -> new RopeScaling.Linear(rope.number("factor"));
            case "llama3" -> llama3(rope, maxPositions);
            default -> throw rope.unsupported(field, "Inlay knows default, linear and llama3");
        };
    }

    private static RopeScaling llama3(ConfigFields rope, int maxPositions) {
        double low = rope.number("low_freq_factor");
        double high = rope.number("high_freq_factor");
        if (high <= low) {
            throw rope.wrong("high_freq_factor", "greater than low_freq_factor, " + low);
        }
        return new RopeScaling.Llama3(rope.number("factor"), low, high, rope.positive("original_max_position_embeddings", maxPositions));
    }

    private static DType dtype(ConfigFields fields) {
        String field = fields.has("dtype") ? "dtype" : "torch_dtype";
        return switch (fields.text(field, "bfloat16")) {
            case "float32" -> DType.FP32;
            case "float16" -> DType.FP16;
            case "bfloat16" -> DType.BF16;
            default -> throw fields.unsupported(field, "weights must be bfloat16, float16 or float32");
        };
    }

    /** Every parameter that a checkpoint must have, in the usual order. */
    public List<ParameterShape> parameters() {
        List<ParameterShape> shapes = new ArrayList<>();
        shapes.add(new ParameterShape(LlamaWeights.EMBEDDING, new long[] {vocabularySize, hiddenSize}));
        for (int l = 0; l < layers; l++) {
            for (Projection projection : Projection.values()) {
                shapes.add(new ParameterShape(projection.tensor(l), shape(projection)));
            }
            shapes.add(new ParameterShape(LlamaWeights.inputNorm(l), new long[] {hiddenSize}));
            shapes.add(new ParameterShape(LlamaWeights.attentionNorm(l), new long[] {hiddenSize}));
        }
        shapes.add(new ParameterShape(LlamaWeights.NORM, new long[] {hiddenSize}));
        if (!tiedEmbeddings) {
            shapes.add(new ParameterShape(LlamaWeights.HEAD, new long[] {vocabularySize, hiddenSize}));
        }
        return shapes;
    }

    /** [out, in] of a layer's linear. */
    public long[] shape(Projection projection) {
        long attention = (long) heads * headDim;
        long keyValue = (long) keyValueHeads * headDim;
        return switch (projection) {
            case Q -> new long[] {attention, hiddenSize};
            case K, V -> new long[] {keyValue, hiddenSize};
            case O -> new long[] {hiddenSize, attention};
            case GATE, UP -> new long[] {intermediateSize, hiddenSize};
            case DOWN -> new long[] {hiddenSize, intermediateSize};
        };
    }

    /** All parameters, embeddings included (a tied head counts once). */
    public long parameterCount() {
        return parameters().stream().mapToLong(ParameterShape::elements).sum();
    }
}
