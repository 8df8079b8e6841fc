package io.inlay.model;

import io.inlay.kernels.Int8Weight;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Collections;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;

/**
 * One pass of many positions of one text. In bf16 linears go to the kernels, some rows at a time and through a delta's tiles, where that is
 * the faster way ({@link Kernels#suitsManyRows}); else to libtorch's GEMM, over the base's own memory or a scratch weight with a delta's
 * blocks in place. What is served as bytes is put back into bf16 first. The GEMM's rows do not depend on how many there are (2 or more; a
 * test holds it). In fp32 that is not so, and there the kernels make them.
 *
 * <p>Legend: N tokens, H hidden, F feed-forward, Q query heads, G key/value heads, D head dimension.
 */
final class DensePass {

    private final LlamaModel model;
    private final Kernels kernels;
    private final LlamaConfig config;
    private final LlamaWeights base;
    private final Workspace workspace;

    /** What a pass does with a layer's keys and values [N, G, D]; queries [N, Q, D] are over them. */
    interface Attention {

        void keep(int layer, Tensor keys, Tensor values);

        /** @param out [N, Q, D] */
        void attend(int layer, Tensor query, Tensor keys, Tensor values, float scale, Tensor out);
    }

    DensePass(LlamaModel model, LlamaWeights base, Workspace workspace) {
        this.model = model;
        this.kernels = model.kernels();
        this.config = model.config();
        this.base = base;
        this.workspace = workspace;
    }

    /** Makes keys and values of tokens at positions {@code start} and on, and nothing of the last layer beyond them. */
    void keysAndValues(int[] tokens, int start, WeightOverlay overlay, Attention attention) {
        run(tokens, start, overlay, attention, false);
    }

    /** Hidden states behind the last norm [N, H] of a text from its beginning, valid until the workspace's next pass. */
    Tensor states(int[] tokens, WeightOverlay overlay, Attention attention) {
        return run(tokens, 0, overlay, attention, true);
    }

    private Tensor run(int[] tokens, int start, WeightOverlay overlay, Attention attention, boolean whole) {
        int n = tokens.length;
        int last = config.layers() - 1;
        LlamaWeights weights = overlay.over(base);
        float epsilon = (float) config.normEpsilon();
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        try (Scope scope = new Scope(model.torch())) {
            Tensor positions = scope.of(model.device(), IntStream.range(start, start + n).toArray(), n);
            Tensor x = workspace.get("x", model.dtype(), n, config.hiddenSize());
            Tensor normed = workspace.get("normed", model.dtype(), n, config.hiddenSize());
            Tensor branch = workspace.get("branch", model.dtype(), n, config.hiddenSize());
            kernels.embed(weights.embedding(), scope.of(model.device(), tokens, n), x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), epsilon, normed, null);
            for (int l = 0; l <= last; l++) {
                Tensor key = heads("k", l, Projection.K, normed, overlay, config.keyValueHeads());
                Tensor value = heads("v", l, Projection.V, normed, overlay, config.keyValueHeads());
                kernels.rope(key, model.ropeTable(), positions, false);
                attention.keep(l, key, value);
                if (l == last && !whole) {
                    return null;
                }
                Tensor query = heads("q", l, Projection.Q, normed, overlay, config.heads());
                kernels.rope(query, model.ropeTable(), positions, false);
                attention.attend(l, query, key, value, scale, workspace.get("attended", model.dtype(), n, config.heads(), config.headDim()));
                linear(l, Projection.O, workspace.get("attended", model.dtype(), n, (long) config.heads() * config.headDim()), overlay, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), epsilon, normed, null);
                feedForward(l, normed, overlay, branch);
                kernels.addRmsNorm(x, branch, x, l == last ? weights.norm() : weights.layers().get(l + 1).inputNorm(), epsilon, normed, null);
            }
            return normed;
        }
    }

    /** Projects to [N, heads, D]. */
    private Tensor heads(String slot, int layer, Projection projection, Tensor x, WeightOverlay overlay, int heads) {
        linear(layer, projection, x, overlay, workspace.get(slot, model.dtype(), x.size(0), (long) heads * config.headDim()));
        return workspace.get(slot, model.dtype(), x.size(0), heads, config.headDim());
    }

    private void feedForward(int layer, Tensor normed, WeightOverlay overlay, Tensor out) {
        Tensor gate = workspace.get("gate", model.dtype(), normed.size(0), config.intermediateSize());
        Tensor up = workspace.get("up", model.dtype(), normed.size(0), config.intermediateSize());
        linear(layer, Projection.GATE, normed, overlay, gate);
        linear(layer, Projection.UP, normed, overlay, up);
        kernels.swiGlu(gate, up, gate);
        linear(layer, Projection.DOWN, gate, overlay, out);
    }

    private void linear(int layer, Projection projection, Tensor x, WeightOverlay overlay, Tensor out) {
        Tensor weight = overlay.over(base).layers().get(layer).linear(projection);
        TileTable tiles = overlay.table(layer, projection);
        Int8Weight bytes = model.int8(weight);
        if (model.dtype() != DType.BF16) {
            inPieces(x, out, kernels.rowsOfAStep(), (rows, some) -> ServedLinear.run(model, rows, weight,
                    Collections.nCopies((int) rows.size(0), tiles), some));
        } else if (kernels.suitsManyRows(DType.BF16)) {
            Tensor read = bytes == null ? weight : assembled(weight, bytes, tiles);
            inPieces(x, out, Kernels.MANY_ROWS, (rows, some) -> kernels.linear(rows, read, bytes == null ? tiles : null, some));
        } else {
            try (Scope scope = new Scope(model.torch())) {
                Tensor read = bytes == null && tiles == null ? weight : assembled(weight, bytes, tiles);
                model.torch().mm(out, x, read.transpose(scope, 0, 1));
            }
        }
    }

    /** A weight as one matrix: its int8 form, where it has one, back in its type, and a delta's blocks, where it has some, in place. */
    private Tensor assembled(Tensor weight, Int8Weight bytes, TileTable tiles) {
        Tensor whole = workspace.get("assembled", model.dtype(), weight.sizes());
        if (bytes != null) {
            kernels.dequantise(bytes, tiles, whole);
        } else {
            kernels.assemble(weight, tiles, whole);
        }
        return whole;
    }

    private void inPieces(Tensor x, Tensor out, int most, BiConsumer<Tensor, Tensor> piece) {
        for (long row = 0; row < x.size(0); row += most) {
            long rows = Math.min(most, x.size(0) - row);
            try (Scope scope = new Scope(model.torch())) {
                piece.accept(x.narrow(scope, 0, row, rows), out.narrow(scope, 0, row, rows));
            }
        }
    }
}
