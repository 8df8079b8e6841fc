package io.inlay.model;

import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * One pass over a whole text that keeps nothing: hidden states behind the last norm, and logits, at every position. Confined to one thread
 * at a time; scratch memory grows to the longest text seen.
 *
 * <p>Legend: N tokens, H hidden, Q query heads, G key/value heads, D head dimension, V vocabulary.
 */
public final class LlamaEncoder implements AutoCloseable {

    /** Rows whose logits are made at once. */
    private static final int LOGIT_ROWS = 16;

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final LlamaConfig config;
    private final Workspace workspace;

    public LlamaEncoder(LlamaModel model) {
        this.model = model;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.config = model.config();
        this.workspace = new Workspace(torch, model.device());
    }

    /**
     * The mean over positions of the hidden states behind the last norm, [H].
     *
     * @param tokens one at least, each of the vocabulary
     */
    public float[] mean(int[] tokens, WeightOverlay overlay) {
        float[] states = Scope.floats(torch, states(tokens, overlay));
        double[] sums = new double[config.hiddenSize()];
        for (int i = 0; i < states.length; i++) {
            sums[i % sums.length] += states[i];
        }
        float[] mean = new float[sums.length];
        for (int i = 0; i < mean.length; i++) {
            mean[i] = (float) (sums[i] / tokens.length);
        }
        return mean;
    }

    /** Hands out the logits [V] after each token but the last, in order. */
    public void logits(int[] tokens, WeightOverlay overlay, Consumer<float[]> row) {
        Tensor states = states(tokens, overlay);
        LlamaWeights weights = overlay.over(model.weights());
        for (int from = 0; from < tokens.length - 1; from += LOGIT_ROWS) {
            int rows = Math.min(LOGIT_ROWS, tokens.length - 1 - from);
            try (Scope scope = new Scope(torch)) {
                Tensor logits = workspace.get("logits", DType.FP32, rows, config.vocabularySize());
                kernels.linear(states.narrow(scope, 0, from, rows), weights.head(), null, logits);
                float[] all = logits.segment().toArray(ValueLayout.JAVA_FLOAT);
                for (int r = 0; r < rows; r++) {
                    row.accept(Arrays.copyOfRange(all, r * config.vocabularySize(), (r + 1) * config.vocabularySize()));
                }
            }
        }
    }

    /** [N, H], valid until the next pass. */
    private Tensor states(int[] tokens, WeightOverlay overlay) {
        int n = tokens.length;
        if (n == 0 || n > model.maxContext()) {
            throw new IllegalArgumentException("a text of " + n + " tokens; the model takes 1 to " + model.maxContext());
        }
        LlamaWeights weights = overlay.over(model.weights());
        float epsilon = (float) config.normEpsilon();
        try (Scope scope = new Scope(torch)) {
            int[] ascending = new int[n];
            Arrays.setAll(ascending, i -> i);
            Tensor positions = scope.of(model.device(), ascending, n);
            Tensor starts = scope.of(model.device(), new int[] {0, n}, 2);
            Tensor x = workspace.get("x", model.dtype(), n, config.hiddenSize());
            Tensor normed = workspace.get("normed", model.dtype(), n, config.hiddenSize());
            Tensor branch = workspace.get("branch", model.dtype(), n, config.hiddenSize());
            kernels.embed(weights.embedding(), scope.of(model.device(), tokens, n), x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), epsilon, normed, null);
            for (int l = 0; l < config.layers(); l++) {
                attention(l, normed, positions, starts, overlay, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), epsilon, normed, null);
                feedForward(l, normed, overlay, branch);
                Tensor next = l + 1 < config.layers() ? weights.layers().get(l + 1).inputNorm() : weights.norm();
                kernels.addRmsNorm(x, branch, x, next, epsilon, normed, null);
            }
            return normed;
        }
    }

    private void attention(int layer, Tensor normed, Tensor positions, Tensor starts, WeightOverlay overlay, Tensor out) {
        long n = normed.size(0);
        linear("q", layer, Projection.Q, normed, overlay);
        linear("k", layer, Projection.K, normed, overlay);
        linear("v", layer, Projection.V, normed, overlay);
        Tensor query = workspace.get("q", model.dtype(), n, config.heads(), config.headDim());
        Tensor key = workspace.get("k", model.dtype(), n, config.keyValueHeads(), config.headDim());
        Tensor value = workspace.get("v", model.dtype(), n, config.keyValueHeads(), config.headDim());
        Tensor attended = workspace.get("attended", model.dtype(), n, config.heads(), config.headDim());
        kernels.rope(query, model.ropeTable(), positions, false);
        kernels.rope(key, model.ropeTable(), positions, false);
        kernels.causalAttention(query, key, value, starts, (float) (1 / Math.sqrt(config.headDim())), attended, null);
        Tensor rows = workspace.get("attended", model.dtype(), n, (long) config.heads() * config.headDim());
        linear(layer, Projection.O, rows, overlay, out);
    }

    private void feedForward(int layer, Tensor normed, WeightOverlay overlay, Tensor out) {
        Tensor gate = linear("gate", layer, Projection.GATE, normed, overlay);
        Tensor up = linear("up", layer, Projection.UP, normed, overlay);
        kernels.swiGlu(gate, up, gate);
        linear(layer, Projection.DOWN, gate, overlay, out);
    }

    private Tensor linear(String slot, int layer, Projection projection, Tensor x, WeightOverlay overlay) {
        long outputs = overlay.over(model.weights()).layers().get(layer).linear(projection).size(0);
        Tensor out = workspace.get(slot, model.dtype(), x.size(0), outputs);
        linear(layer, projection, x, overlay, out);
        return out;
    }

    private void linear(int layer, Projection projection, Tensor x, WeightOverlay overlay, Tensor out) {
        Tensor weight = overlay.over(model.weights()).layers().get(layer).linear(projection);
        TileTable tiles = overlay.table(layer, projection);
        Tensor effective = weight;
        if (tiles != null) {
            effective = workspace.get("assembled", model.dtype(), weight.sizes());
            kernels.assemble(weight, tiles, effective);
        }
        try (Scope scope = new Scope(torch)) {
            torch.mm(out, x, effective.transpose(scope, 0, 1));
        }
    }

    @Override
    public void close() {
        workspace.close();
    }
}
