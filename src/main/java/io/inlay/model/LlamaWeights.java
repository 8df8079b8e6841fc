package io.inlay.model;

import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * The weights of a LLaMA by role. Linears are [out, in]; {@code head} is the embedding itself when they are tied.
 *
 * @param embedding [V, H]
 * @param norm final norm [H]
 * @param head [V, H]
 */
record LlamaWeights(Tensor embedding, List<Layer> layers, Tensor norm, Tensor head) {

    static final String EMBEDDING = "model.embed_tokens.weight";
    static final String NORM = "model.norm.weight";
    static final String HEAD = "lm_head.weight";

    /** One layer: two norms [H] and seven linears. */
    record Layer(Tensor inputNorm, Tensor attentionNorm, Map<Projection, Tensor> linears) {

        Tensor linear(Projection projection) {
            return linears.get(projection);
        }
    }

    static String inputNorm(int layer) {
        return "model.layers." + layer + ".input_layernorm.weight";
    }

    static String attentionNorm(int layer) {
        return "model.layers." + layer + ".post_attention_layernorm.weight";
    }

    static LlamaWeights of(LlamaConfig config, Function<String, Tensor> tensors) {
        List<Layer> layers = new ArrayList<>();
        for (int l = 0; l < config.layers(); l++) {
            Map<Projection, Tensor> linears = new EnumMap<>(Projection.class);
            for (Projection projection : Projection.values()) {
                linears.put(projection, tensors.apply(projection.tensor(l)));
            }
            layers.add(new Layer(tensors.apply(inputNorm(l)), tensors.apply(attentionNorm(l)), linears));
        }
        Tensor embedding = tensors.apply(EMBEDDING);
        return new LlamaWeights(embedding, layers, tensors.apply(NORM), config.tiedEmbeddings() ? embedding : tensors.apply(HEAD));
    }
}
