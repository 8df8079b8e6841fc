package io.inlay.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
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

    private static final ObjectMapper JSON = new ObjectMapper();

    public LlamaConfig {
        eos = Set.copyOf(eos);
    }

    /**
     * Reads {@code config.json}, and {@code generation_config.json} for further end ids.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} or {@code UNSUPPORTED_MODEL}, naming file and field
     */
    public static LlamaConfig parse(Path folder) {
        Path file = folder.resolve("config.json");
        Fields fields = new Fields(file, read(file));
        fields.requireSupported();
        int heads = fields.positive("num_attention_heads");
        int keyValueHeads = fields.has("num_key_value_heads") ? fields.positive("num_key_value_heads") : heads;
        int hidden = fields.positive("hidden_size");
        int headDim = fields.has("head_dim") ? fields.positive("head_dim") : hidden / heads;
        if (heads % keyValueHeads != 0) {
            throw fields.unsupported("num_attention_heads is " + heads + ", no multiple of num_key_value_heads " + keyValueHeads);
        }
        if (headDim % 2 != 0 || (!fields.has("head_dim") && hidden % heads != 0)) {
            throw fields.unsupported("hidden_size " + hidden + " and num_attention_heads " + heads + " give no even head dimension");
        }
        Set<Integer> eos = new LinkedHashSet<>(fields.ids("eos_token_id"));
        Path generation = folder.resolve("generation_config.json");
        if (Files.isRegularFile(generation)) {
            eos.addAll(new Fields(generation, read(generation)).ids("eos_token_id"));
        }
        List<Integer> bos = fields.ids("bos_token_id");
        return new LlamaConfig(fields.positive("vocab_size"), hidden, fields.positive("intermediate_size"),
                fields.positive("num_hidden_layers"), heads, keyValueHeads, headDim, fields.number("rms_norm_eps", 1e-6),
                fields.has("max_position_embeddings") ? fields.positive("max_position_embeddings") : 2048, fields.ropeTheta(),
                fields.ropeScaling(), fields.json().path("tie_word_embeddings").asBoolean(false),
                bos.isEmpty() ? OptionalInt.empty() : OptionalInt.of(bos.getFirst()), eos, fields.dtype());
    }

    private static JsonNode read(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is missing; a model folder is in Hugging Face layout, with "
                    + "config.json, tokenizer.json and model.safetensors");
        }
        try {
            JsonNode json = JSON.readTree(file.toFile());
            if (!json.isObject()) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is not a JSON object; fetch the file again");
            }
            return json;
        } catch (JsonProcessingException malformed) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is not JSON: " + malformed.getOriginalMessage()
                    + "; fetch the file again", malformed);
        } catch (IOException failure) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " cannot be read: " + failure.getMessage(), failure);
        }
    }

    /** Typed access to one file's fields, with refusals that name them. */
    private record Fields(Path file, JsonNode json) {

        boolean has(String field) {
            return json.hasNonNull(field);
        }

        int positive(String field) {
            JsonNode value = json.get(field);
            if (value == null || value.isNull()) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " has no " + field + "; fetch the file again");
            }
            if (!value.isInt() || value.intValue() <= 0) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " has " + field + " = " + value + "; it must be a positive integer");
            }
            return value.intValue();
        }

        double number(String field, double otherwise) {
            JsonNode value = json.get(field);
            if (value == null || value.isNull()) {
                return otherwise;
            }
            if (!value.isNumber() || !(value.doubleValue() > 0)) {
                throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " has " + field + " = " + value + "; it must be a positive number");
            }
            return value.doubleValue();
        }

        List<Integer> ids(String field) {
            JsonNode value = json.path(field);
            List<Integer> ids = new ArrayList<>();
            if (value.isInt()) {
                ids.add(value.intValue());
            }
            value.forEach(each -> ids.add(each.asInt()));
            return ids;
        }

        void requireSupported() {
            String type = json.path("model_type").asText("");
            if (!type.equals("llama")) {
                throw unsupported("model_type is '" + type + "'; Inlay serves llama (LLaMA 1, 2, 3, 3.1, 3.2)");
            }
            for (String bias : List.of("attention_bias", "mlp_bias")) {
                if (json.path(bias).asBoolean(false)) {
                    throw unsupported(bias + " is true; Inlay serves LLaMA, whose linears have no bias");
                }
            }
            String activation = json.path("hidden_act").asText("silu");
            if (!activation.equals("silu")) {
                throw unsupported("hidden_act is '" + activation + "'; LLaMA's is silu");
            }
            if (has("quantization_config")) {
                throw unsupported("quantization_config is set; Inlay needs the bf16, fp16 or fp32 weights");
            }
        }

        double ropeTheta() {
            JsonNode parameters = json.path("rope_parameters");
            if (parameters.hasNonNull("rope_theta")) {
                return new Fields(file, parameters).number("rope_theta", 10000);
            }
            return number("rope_theta", 10000);
        }

        RopeScaling ropeScaling() {
            JsonNode scaling = has("rope_parameters") ? json.get("rope_parameters") : json.path("rope_scaling");
            String type = scaling.path("rope_type").asText(scaling.path("type").asText("default"));
            Fields fields = new Fields(file, scaling);
            return switch (type) {
                case "default" -> new RopeScaling.None();
                case "linear" -> new RopeScaling.Linear(fields.number("factor", 1));
                case "llama3" -> new RopeScaling.Llama3(fields.number("factor", 8), fields.number("low_freq_factor", 1),
                        fields.number("high_freq_factor", 4), fields.positive("original_max_position_embeddings"));
                default -> throw unsupported("rope type is '" + type + "'; Inlay knows default, linear and llama3");
            };
        }

        DType dtype() {
            String name = json.path("dtype").asText(json.path("torch_dtype").asText("bfloat16"));
            return switch (name) {
                case "float32" -> DType.FP32;
                case "float16" -> DType.FP16;
                default -> DType.BF16;
            };
        }

        Problem unsupported(String what) {
            return new Problem(Problem.Code.UNSUPPORTED_MODEL, file + ": " + what);
        }
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
