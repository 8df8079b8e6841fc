package io.inlay.model;

import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;

/**
 * Forward and backward of a LLaMA, written by hand. Gradients are made for what the {@link Trainable} names and nothing else:
 * <ul>
 * <li>a layer keeps its two residual inputs, the rotated queries, keys and values, attention's output, and gate and up; the inputs of
 * linears are made again from these in the backward pass, so a trained linear keeps nothing of its own;
 * <li>with {@link Activations#RECOMPUTE} a layer keeps its input alone and is computed once more before its backward, to the same bits;
 * <li>layers below the lowest trained one keep nothing and are not differentiated;
 * <li>logits exist for target tokens only, a chunk at a time.
 * </ul>
 * Confined to one thread at a time. Scratch memory grows to the largest batch seen and stays.
 *
 * <p>Legend: N packed tokens, H hidden, F feed-forward, Q query heads, G key/value heads, D head dimension, V vocabulary.
 */
public final class LlamaTraining implements AutoCloseable {

    /** Logits are made for at most this many bytes at a time. */
    public static final long LOGIT_BYTES = 32L << 20;

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final LlamaConfig config;
    private final DType dtype;
    private final LlamaWeights weights;
    private final Trainable trainable;
    private final Workspace workspace;
    private final float epsilon;
    private final float attentionScale;
    private final int lowest;
    private final AdapterPasses adapters;
    private final LinearGradients gradients;
    private final TargetLoss targetLoss;
    private final Activations activations;
    private long step;
    private long pass;

    /** What the forward pass leaves for the backward pass. */
    public enum Activations {
        /** All that it would otherwise compute twice. */
        KEEP,
        /** Each layer's input, N H values: less memory for about a third more time. */
        RECOMPUTE
    }

    public LlamaTraining(LlamaModel model, Trainable trainable) {
        this(model, trainable, Activations.KEEP);
    }

    public LlamaTraining(LlamaModel model, Trainable trainable, Activations activations) {
        this.model = model;
        this.activations = activations;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.config = model.config();
        this.dtype = model.dtype();
        this.trainable = trainable;
        this.weights = trainable instanceof TrainableModel full ? full.weights() : model.weights();
        this.workspace = new Workspace(torch, model.device());
        this.epsilon = (float) config.normEpsilon();
        this.attentionScale = (float) (1 / Math.sqrt(config.headDim()));
        this.lowest = lowestTrained();
        this.adapters = new AdapterPasses(model, trainable, workspace);
        this.gradients = new LinearGradients(model, trainable, adapters, workspace);
        this.targetLoss = new TargetLoss(model, weights, trainable, gradients, workspace);
    }

    private int lowestTrained() {
        for (int l = 0; l < config.layers(); l++) {
            for (Projection projection : Projection.values()) {
                if (trainable.trains(projection.tensor(l))) {
                    return l;
                }
            }
        }
        throw new IllegalArgumentException("nothing that is trained is a linear of model " + model.name());
    }

    /** What the forward pass keeps of one layer: see the class comment. */
    private record Kept(Tensor x, Tensor rstd, Tensor query, Tensor key, Tensor value, Tensor attended, Tensor logSumExp,
            Tensor middle, Tensor middleRstd, Tensor gate, Tensor up) {
    }

    /** Opens a step, counted from 0: adapters draw their dropout from its number and from that of the pass within it. */
    public void beginStep(long number) {
        step = number;
        pass = 0;
    }

    /**
     * Adds the gradients of {@code lossScale} times the summed loss to the trainable's buffers (a {@link GradientProbe} is shown them).
     */
    public BatchLoss forwardBackward(PackedBatch batch, float lossScale) {
        adapters.begin(true, step, pass++);
        try (Scope scope = new Scope(torch)) {
            Kept[] kept = new Kept[config.layers()];
            Rows rows = new Rows(scope, batch);
            Tensor x = forward(scope, rows, kept);
            Tensor gradX = workspace.get("gradX", dtype, rows.count, config.hiddenSize());
            BatchLoss loss = targetLoss.of(batch, x, lossScale, gradX);
            if (loss.targets() > 0) {
                backward(rows, kept, gradX);
            }
            return loss;
        }
    }

    /** Forward only: the loss of the weights as they are. */
    public BatchLoss evaluate(PackedBatch batch) {
        adapters.begin(false, step, pass);
        try (Scope scope = new Scope(torch)) {
            Rows rows = new Rows(scope, batch);
            return targetLoss.of(batch, forward(scope, rows, null), 0, null);
        }
    }

    public void zeroGradients() {
        switch (trainable) {
            case TrainableBlocks blocks -> torch.zero(blocks.gradients());
            case TrainableModel full -> full.parameters().values().forEach(parameter -> torch.zero(parameter.gradient()));
            case LowRankAdapters low -> low.parameters().values().forEach(parameter -> torch.zero(parameter.gradient()));
            case GradientProbe _ -> {
            }
        }
    }

    /** Bytes of scratch memory, activations included. */
    public long workspaceBytes() {
        return workspace.bytes();
    }

    /** The batch on the device. */
    private final class Rows {
        private final int count;
        private final Tensor ids;
        private final Tensor positions;
        private final Tensor starts;

        private Rows(Scope scope, PackedBatch batch) {
            if (batch.longest() > model.maxContext()) {
                throw new IllegalArgumentException("a sequence of " + batch.longest() + " tokens; the model has " + model.maxContext()
                        + " positions");
            }
            this.count = batch.tokens().length;
            int[] position = new int[count];
            int[] start = new int[batch.lengths().length + 1];
            for (int sequence = 0, row = 0; sequence < batch.lengths().length; sequence++) {
                for (int i = 0; i < batch.lengths()[sequence]; i++) {
                    position[row++] = i;
                }
                start[sequence + 1] = row;
            }
            this.ids = scope.of(model.device(), batch.tokens(), count);
            this.positions = scope.of(model.device(), position, count);
            this.starts = scope.of(model.device(), start, start.length);
        }
    }

    // ---- forward ----

    /** Fills {@code kept} for the layers that the backward pass visits (null: none); returns the last layer's output [N, H]. */
    private Tensor forward(Scope scope, Rows rows, Kept[] kept) {
        int n = rows.count;
        Tensor x = input(kept, 0, n);
        kernels.embed(weights.embedding(), rows.ids, x);
        Tensor normed = workspace.get("normed", dtype, n, config.hiddenSize());
        Tensor branch = workspace.get("branch", dtype, n, config.hiddenSize());
        Tensor rstd = inputRstd(kept, 0, n);
        kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), epsilon, normed, rstd);
        for (int l = 0; l < config.layers(); l++) {
            boolean keeps = keeps(kept, l);
            boolean all = keeps && activations == Activations.KEEP;
            Kept layer = layer(scope, rows, l, x, rstd, all ? "." + l : "", all);
            linear(l, Projection.DOWN, activated(layer), branch);
            if (keeps) {
                kept[l] = layer;
            }
            boolean end = l + 1 == config.layers();
            Tensor next = end ? workspace.get("x.out", dtype, n, config.hiddenSize()) : input(kept, l + 1, n);
            rstd = end ? inputRstd(null, 0, n) : inputRstd(kept, l + 1, n);
            // The final norm is made for target rows only, in TargetLoss; here the sum alone is wanted after the last layer.
            kernels.addRmsNorm(layer.middle(), branch, next, end ? weights.norm() : weights.layers().get(l + 1).inputNorm(), epsilon, normed,
                    rstd);
            x = next;
        }
        return x;
    }

    /**
     * One layer up to its feed-forward's two branches, from its input x [N, H], the norm of which is in the slot "normed".
     *
     * @param slots behind the names of the buffers that it fills: a layer's own, or those that all layers share
     * @param attentionToo whether the backward pass will want this attention's softmax sums
     */
    private Kept layer(Scope scope, Rows rows, int l, Tensor x, Tensor rstd, String slots, boolean attentionToo) {
        int n = rows.count;
        Tensor normed = workspace.get("normed", dtype, n, config.hiddenSize());
        Tensor query = workspace.get("q" + slots, dtype, n, (long) config.heads() * config.headDim());
        Tensor key = workspace.get("k" + slots, dtype, n, (long) config.keyValueHeads() * config.headDim());
        Tensor value = workspace.get("v" + slots, dtype, n, (long) config.keyValueHeads() * config.headDim());
        linear(l, Projection.Q, normed, query);
        linear(l, Projection.K, normed, key);
        linear(l, Projection.V, normed, value);
        kernels.rope(heads(scope, query), model.ropeTable(), rows.positions, false);
        kernels.rope(heads(scope, key), model.ropeTable(), rows.positions, false);
        Tensor attended = workspace.get("attended" + slots, dtype, n, (long) config.heads() * config.headDim());
        Tensor logSumExp = attentionToo ? workspace.get("logSumExp" + slots, DType.FP32, config.heads(), n) : null;
        kernels.causalAttention(heads(scope, query), heads(scope, key), heads(scope, value), rows.starts, attentionScale,
                heads(scope, attended), logSumExp);
        Tensor branch = workspace.get("branch", dtype, n, config.hiddenSize());
        linear(l, Projection.O, attended, branch);
        Tensor middle = workspace.get("middle" + slots, dtype, n, config.hiddenSize());
        Tensor middleRstd = workspace.get("middleRstd" + slots, DType.FP32, n);
        kernels.addRmsNorm(x, branch, middle, weights.layers().get(l).attentionNorm(), epsilon, normed, middleRstd);
        Tensor gate = workspace.get("gate" + slots, dtype, n, config.intermediateSize());
        Tensor up = workspace.get("up" + slots, dtype, n, config.intermediateSize());
        linear(l, Projection.GATE, normed, gate);
        linear(l, Projection.UP, normed, up);
        return new Kept(x, rstd, query, key, value, attended, logSumExp, middle, middleRstd, gate, up);
    }

    /** The input of the layer's last linear [N, F]. */
    private Tensor activated(Kept layer) {
        Tensor activated = workspace.get("activated", dtype, layer.gate().sizes());
        kernels.swiGlu(layer.gate(), layer.up(), activated);
        return activated;
    }

    /** What {@link #layer} kept, or the layer computed once more from its input, to the same bits. */
    private Kept recalled(Scope scope, Rows rows, int l, Kept kept) {
        if (activations == Activations.KEEP) {
            return kept;
        }
        Tensor normed = workspace.get("normed", dtype, rows.count, config.hiddenSize());
        kernels.rmsNorm(kept.x(), weights.layers().get(l).inputNorm(), epsilon, normed, kept.rstd());
        return layer(scope, rows, l, kept.x(), kept.rstd(), "", true);
    }

    private boolean keeps(Kept[] kept, int layer) {
        return kept != null && layer >= lowest;
    }

    /** A layer's input [N, H]: a buffer of its own where the backward pass will want it, else one of two that take turns. */
    private Tensor input(Kept[] kept, int layer, int n) {
        return workspace.get(keeps(kept, layer) ? "x." + layer : "x.shared" + layer % 2, dtype, n, config.hiddenSize());
    }

    private Tensor inputRstd(Kept[] kept, int layer, int n) {
        return workspace.get(keeps(kept, layer) ? "rstd." + layer : "rstd", DType.FP32, n);
    }

    /** [N, heads D] as [N, heads, D]. */
    private Tensor heads(Scope scope, Tensor rows) {
        return rows.reshape(scope, rows.size(0), rows.size(1) / config.headDim(), config.headDim());
    }

    private void linear(int layer, Projection projection, Tensor x, Tensor out) {
        LowRankAdapters.Part adapter = adapters.part(layer, projection);
        if (adapter != null) {
            adapters.forward(adapter, x, out);
            return;
        }
        try (Scope scope = new Scope(torch)) {
            kernels.product(out, x, weight(layer, projection).transpose(scope, 0, 1), false);
        }
    }

    /** {@code gradIn = dy/dx gradOut} of a linear, or added to gradIn: gradOut [N, O], gradIn [N, K]. */
    private void gradInput(int layer, Projection projection, Tensor gradOut, Tensor gradIn, boolean add) {
        LowRankAdapters.Part adapter = adapters.part(layer, projection);
        if (adapter != null) {
            adapters.gradInput(adapter, gradOut, gradIn, add);
        } else {
            kernels.product(gradIn, gradOut, weight(layer, projection), add);
        }
    }

    /** The weight as it is now: the base's own memory, or a scratch copy with the trained blocks in place. */
    private Tensor weight(int layer, Projection projection) {
        Tensor base = weights.layers().get(layer).linear(projection);
        if (trainable instanceof TrainableBlocks blocks && blocks.part(projection.tensor(layer)) instanceof TrainableBlocks.Part part) {
            TileTable tiles = part.tiles();
            Tensor assembled = workspace.get("assembled", dtype, base.sizes());
            kernels.assemble(base, tiles, assembled);
            return assembled;
        }
        return base;
    }

    // ---- backward ----

    private void backward(Rows rows, Kept[] kept, Tensor gradX) {
        for (int l = config.layers() - 1; l >= lowest; l--) {
            boolean more = l > lowest || trainable instanceof TrainableModel;
            try (Scope again = new Scope(torch)) {
                Kept layer = recalled(again, rows, l, kept[l]);
                backwardFeedForward(l, layer, gradX);
                if (!more && !gradients.wantsAttention(l)) {
                    return;
                }
                backwardAttention(again, rows, l, layer, gradX, more);
            }
        }
        if (trainable instanceof TrainableModel full) {
            kernels.embedBackward(gradX, rows.ids, full.gradient(LlamaWeights.EMBEDDING));
        }
    }

    /** gradX enters as the gradient of the layer's output and leaves as that of its middle (before the feed-forward). */
    private void backwardFeedForward(int l, Kept kept, Tensor gradX) {
        int n = gradX.dim(0);
        LlamaWeights.Layer layer = weights.layers().get(l);
        if (gradients.wants(l, Projection.DOWN)) {
            gradients.add(l, Projection.DOWN, gradX, activated(kept));
        }
        Tensor gradActivated = workspace.get("activated", dtype, n, config.intermediateSize());
        gradInput(l, Projection.DOWN, gradX, gradActivated, false);
        kernels.swiGluBackward(gradActivated, kept.gate(), kept.up(), kept.gate(), kept.up());
        if (gradients.wants(l, Projection.GATE) || gradients.wants(l, Projection.UP)) {
            Tensor normed = workspace.get("normed", dtype, n, config.hiddenSize());
            kernels.rmsNorm(kept.middle(), layer.attentionNorm(), epsilon, normed, null);
            gradients.add(l, Projection.GATE, kept.gate(), normed);
            gradients.add(l, Projection.UP, kept.up(), normed);
        }
        Tensor gradNormed = workspace.get("branch", dtype, n, config.hiddenSize());
        gradInput(l, Projection.GATE, kept.gate(), gradNormed, false);
        gradInput(l, Projection.UP, kept.up(), gradNormed, true);
        kernels.rmsNormBackward(gradNormed, kept.middle(), layer.attentionNorm(), kept.middleRstd(), gradX,
                normGradient(LlamaWeights.attentionNorm(l)));
    }

    /** gradX enters as the gradient of the middle and leaves as that of the layer's input, unless nothing below wants it. */
    private void backwardAttention(Scope scope, Rows rows, int l, Kept kept, Tensor gradX, boolean more) {
        int n = rows.count;
        gradients.add(l, Projection.O, gradX, kept.attended());
        Tensor gradAttended = workspace.get("gradAttended", dtype, kept.attended().sizes());
        gradInput(l, Projection.O, gradX, gradAttended, false);
        Tensor gradQuery = workspace.get("gradQuery", dtype, kept.query().sizes());
        Tensor gradKey = workspace.get("gradKey", dtype, kept.key().sizes());
        Tensor gradValue = workspace.get("gradValue", dtype, kept.value().sizes());
        kernels.causalAttentionBackward(heads(scope, gradAttended), heads(scope, kept.query()), heads(scope, kept.key()),
                heads(scope, kept.value()), heads(scope, kept.attended()), kept.logSumExp(), rows.starts, attentionScale,
                heads(scope, gradQuery), heads(scope, gradKey), heads(scope, gradValue));
        kernels.rope(heads(scope, gradQuery), model.ropeTable(), rows.positions, true);
        kernels.rope(heads(scope, gradKey), model.ropeTable(), rows.positions, true);
        LlamaWeights.Layer layer = weights.layers().get(l);
        if (gradients.wants(l, Projection.Q) || gradients.wants(l, Projection.K) || gradients.wants(l, Projection.V)) {
            Tensor normed = workspace.get("normed", dtype, n, config.hiddenSize());
            kernels.rmsNorm(kept.x(), layer.inputNorm(), epsilon, normed, null);
            gradients.add(l, Projection.Q, gradQuery, normed);
            gradients.add(l, Projection.K, gradKey, normed);
            gradients.add(l, Projection.V, gradValue, normed);
        }
        if (more) {
            Tensor gradNormed = workspace.get("branch", dtype, n, config.hiddenSize());
            gradInput(l, Projection.Q, gradQuery, gradNormed, false);
            gradInput(l, Projection.K, gradKey, gradNormed, true);
            gradInput(l, Projection.V, gradValue, gradNormed, true);
            kernels.rmsNormBackward(gradNormed, kept.x(), layer.inputNorm(), kept.rstd(), gradX, normGradient(LlamaWeights.inputNorm(l)));
        }
    }

    private Tensor normGradient(String tensor) {
        return trainable instanceof TrainableModel full ? full.gradient(tensor) : null;
    }

    @Override
    public void close() {
        workspace.close();
    }
}
