package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * One pass over a whole text that keeps nothing: hidden states behind the last norm, and logits, at every position. Confined to one thread
 * at a time; scratch memory grows to the longest text seen.
 *
 * <p>Legend: N tokens, H hidden, V vocabulary.
 */
public final class LlamaEncoder implements AutoCloseable {

    private final LlamaModel model;
    private final LlamaConfig config;
    private final Workspace workspace;

    public LlamaEncoder(LlamaModel model) {
        this.model = model;
        this.config = model.config();
        this.workspace = new Workspace(model.torch(), model.device());
    }

    /**
     * The mean over positions of the hidden states behind the last norm, [H].
     *
     * @param tokens one at least, each of the vocabulary
     */
    public float[] mean(int[] tokens, WeightOverlay overlay) {
        float[] states = Scope.floats(model.torch(), states(tokens, overlay));
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
        int most = model.kernels().rowsOfAStep();
        for (int from = 0; from < tokens.length - 1; from += most) {
            int rows = Math.min(most, tokens.length - 1 - from);
            try (Scope scope = new Scope(model.torch())) {
                Tensor logits = workspace.get("logits", DType.FP32, rows, config.vocabularySize());
                ServedLinear.run(model, states.narrow(scope, 0, from, rows), weights.head(), logits);
                float[] all = scope.onHost(logits).segment().toArray(ValueLayout.JAVA_FLOAT);
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
        try (Scope scope = new Scope(model.torch())) {
            Tensor starts = scope.of(model.device(), new int[] {0, n}, 2);
            return new DensePass(model, model.weights(), workspace).states(tokens, overlay, new DensePass.Attention() {
                @Override
                public void keep(int layer, Tensor keys, Tensor values) {
                    // Nothing is read after its own layer.
                }

                @Override
                public void attend(int layer, Tensor query, Tensor keys, Tensor values, float scale, Tensor out) {
                    model.kernels().causalAttention(query, keys, values, starts, scale, out, null);
                }
            });
        }
    }

    @Override
    public void close() {
        workspace.close();
    }
}
