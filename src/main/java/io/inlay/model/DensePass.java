package io.inlay.model;

import io.inlay.kernels.Int8Weight;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Arrays;
import java.util.Collections;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * One pass of many positions of one text. In bf16 linears go to the kernels, some rows at a time and through a delta's tiles, where that is
 * the faster way ({@link Kernels#suitsManyRows}); else to libtorch's GEMM, over the base's own memory or a scratch weight with a delta's
 * blocks in place. What is served as bytes is put back into bf16 first. On the CPU the GEMM's rows do not depend on how many there are (2 or
 * more; a test holds it); on a device it is of the rows of a {@link PromptCut.Window}. In fp32 the kernels make them.
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

    /**
     * Makes keys and values of tokens at positions {@code start} and on, and nothing of the last layer beyond them.
     *
     * @param window whose rows products are made of; those of other positions hold anything, and are not looked at
     */
    void keysAndValues(int[] tokens, int start, PromptCut.Window window, WeightOverlay overlay, Attention attention) {
        run(tokens, start, window, overlay, attention, false);
    }

    /** Hidden states behind the last norm [N, H] of a text from its beginning, valid until the workspace's next pass. */
    Tensor states(int[] tokens, WeightOverlay overlay, Attention attention) {
        return run(tokens, 0, new PromptCut.Window(0, tokens.length), overlay, attention, true);
    }

    private Tensor run(int[] tokens, int start, PromptCut.Window window, WeightOverlay overlay, Attention attention, boolean whole) {
        int n = tokens.length;
        int last = config.layers() - 1;
        LlamaWeights weights = overlay.over(base);
        float epsilon = (float) config.normEpsilon();
        float scale = (float) (1 / Math.sqrt(config.headDim()));
        try (Scope scope = new Scope(model.torch())) {
            Rows rows = new Rows(scope, window.to() - window.from(), start - window.from(), n);
            Tensor positions = scope.of(model.device(), IntStream.range(start, start + n).toArray(), n);
            Tensor x = rows.own(slot("x", rows, config.hiddenSize()));
            Tensor normed = slot("normed", rows, config.hiddenSize());
            Tensor branch = slot("branch", rows, config.hiddenSize());
            kernels.embed(weights.embedding(), scope.of(model.device(), tokens, n), x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), epsilon, rows.own(normed), null);
            for (int l = 0; l <= last; l++) {
                Tensor key = heads("k", l, Projection.K, normed, rows, overlay, config.keyValueHeads());
                Tensor value = heads("v", l, Projection.V, normed, rows, overlay, config.keyValueHeads());
                kernels.rope(key, model.ropeTable(), positions, false);
                attention.keep(l, key, value);
                if (l == last && !whole) {
                    return null;
                }
                Tensor query = heads("q", l, Projection.Q, normed, rows, overlay, config.heads());
                kernels.rope(query, model.ropeTable(), positions, false);
                attention.attend(l, query, key, value, scale, rows.own(slot("attended", rows, config.heads(), config.headDim())));
                linear(l, Projection.O, slot("attended", rows, (long) config.heads() * config.headDim()), rows, overlay, branch);
                kernels.addRmsNorm(x, rows.own(branch), x, weights.layers().get(l).attentionNorm(), epsilon, rows.own(normed), null);
                feedForward(l, normed, rows, overlay, branch);
                kernels.addRmsNorm(x, rows.own(branch), x, l == last ? weights.norm() : weights.layers().get(l + 1).inputNorm(), epsilon,
                        rows.own(normed), null);
            }
            return normed;
        }
    }

    /**
     * Rows that products are made of, and which of them are this pass's.
     *
     * @param scope of views
     * @param all rows
     * @param first of the pass's
     * @param count N
     */
    private record Rows(Scope scope, int all, int first, int count) {

        /** The pass's rows of a tensor of all. */
        Tensor own(Tensor tensor) {
            return count == all ? tensor : tensor.narrow(scope, 0, first, count);
        }
    }

    private Tensor slot(String name, Rows rows, long... columns) {
        long[] sizes = LongStream.concat(LongStream.of(rows.all()), Arrays.stream(columns)).toArray();
        return workspace.get(name, model.dtype(), sizes);
    }

    /** Projects to [N, heads, D]. */
    private Tensor heads(String name, int layer, Projection projection, Tensor x, Rows rows, WeightOverlay overlay, int heads) {
        linear(layer, projection, x, rows, overlay, slot(name, rows, (long) heads * config.headDim()));
        return rows.own(slot(name, rows, heads, config.headDim()));
    }

    private void feedForward(int layer, Tensor normed, Rows rows, WeightOverlay overlay, Tensor out) {
        Tensor gate = slot("gate", rows, config.intermediateSize());
        Tensor up = slot("up", rows, config.intermediateSize());
        linear(layer, Projection.GATE, normed, rows, overlay, gate);
        linear(layer, Projection.UP, normed, rows, overlay, up);
        kernels.swiGlu(rows.own(gate), rows.own(up), rows.own(gate));
        linear(layer, Projection.DOWN, gate, rows, overlay, out);
    }

    private void linear(int layer, Projection projection, Tensor x, Rows rows, WeightOverlay overlay, Tensor out) {
        Tensor weight = overlay.over(base).layers().get(layer).linear(projection);
        TileTable tiles = overlay.table(layer, projection);
        Int8Weight bytes = model.int8(weight);
        if (model.dtype() != DType.BF16) {
            inPieces(rows.own(x), rows.own(out), kernels.rowsOfAStep(), (some, made) -> ServedLinear.run(model, some, weight,
                    Collections.nCopies((int) some.size(0), tiles), made));
        } else if (kernels.suitsManyRows(DType.BF16)) {
            Tensor read = bytes == null ? weight : assembled(weight, bytes, tiles);
            inPieces(rows.own(x), rows.own(out), Kernels.MANY_ROWS,
                    (some, made) -> kernels.linear(some, read, bytes == null ? tiles : null, made));
        } else {
            try (Scope scope = new Scope(model.torch())) {
                Tensor read = bytes == null && tiles == null ? weight : assembled(weight, bytes, tiles);
                kernels.product(out, x, read.transpose(scope, 0, 1), false);
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
