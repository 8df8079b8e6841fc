package io.inlay.model;

import io.inlay.Problem;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Forward passes that keep nothing but the KV cache. Stateless between calls; threads may call at the same time with caches of their
 * own.
 *
 * <p>Legend: N tokens of this call, H hidden, F feed-forward, Q query heads, G key/value heads, D head dimension, V vocabulary.
 *
 * <p>Linears of at most {@value #FEW_ROWS} rows go through the kernels' tile-table linear, which reads each weight once; more rows go to
 * libtorch's GEMM, over the base's own memory or over a scratch weight with the delta's blocks in place.
 */
public final class LlamaInference implements AutoCloseable {

    private static final int FEW_ROWS = 16;

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final LlamaConfig config;
    private final LlamaWeights base;
    private final float attentionScale;
    private final ConcurrentLinkedQueue<Workspace> idle = new ConcurrentLinkedQueue<>();

    public LlamaInference(LlamaModel model) {
        this(model, model.weights());
    }

    /** With the weights of a full fine-tuning, as they are at the time of a pass, in place of the base's. */
    public LlamaInference(LlamaModel model, TrainableModel trained) {
        this(model, trained.weights());
    }

    private LlamaInference(LlamaModel model, LlamaWeights weights) {
        this.model = model;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.config = model.config();
        this.base = weights;
        this.attentionScale = (float) (1 / Math.sqrt(config.headDim()));
    }

    /** An empty cache for one sequence of up to {@code capacity} positions. */
    public KvCache cache(int capacity) {
        return new KvCache(model, capacity);
    }

    /**
     * Appends the tokens to the cache and returns the logits [V] after the last. The cache may already hold a beginning.
     *
     * @throws Problem {@code CONTEXT_LENGTH_EXCEEDED} when the cache has no room
     */
    public float[] prefill(int[] tokens, KvCache cache, WeightOverlay overlay) {
        if (tokens.length == 0) {
            throw new IllegalArgumentException("prefill of no tokens; a prompt has at least one");
        }
        requireTokens(tokens);
        if (cache.length() + tokens.length > cache.capacity()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, tokens.length + " tokens do not fit behind the " + cache.length()
                    + " in a cache of " + cache.capacity() + "; shorten the prompt or open a larger cache");
        }
        if (cache.length() == 0 && tokens.length > 1) {
            return borrow(workspace -> prefillEmpty(workspace, tokens, cache, overlay));
        }
        float[] logits = null;
        for (int token : tokens) {
            logits = decode(token, cache, overlay);
        }
        return logits;
    }

    /** Appends one token and returns the logits [V] after it. */
    public float[] decode(int token, KvCache cache, WeightOverlay overlay) {
        requireTokens(new int[] {token});
        if (cache.length() >= cache.capacity()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, "the cache's " + cache.capacity()
                    + " positions are full; open a larger cache");
        }
        return borrow(workspace -> decodeOne(workspace, token, cache, overlay));
    }

    private void requireTokens(int[] tokens) {
        for (int token : tokens) {
            if (token < 0 || token >= config.vocabularySize()) {
                throw new IllegalArgumentException("token " + token + " is not of a vocabulary of " + config.vocabularySize());
            }
        }
    }

    private interface Pass {
        float[] run(Workspace workspace);
    }

    private float[] borrow(Pass pass) {
        Workspace found = idle.poll();
        Workspace workspace = found == null ? new Workspace(torch, model.device()) : found;
        try {
            return pass.run(workspace);
        } finally {
            idle.add(workspace);
        }
    }

    private float[] prefillEmpty(Workspace workspace, int[] tokens, KvCache cache, WeightOverlay overlay) {
        int n = tokens.length;
        int last = config.layers() - 1;
        LlamaWeights weights = overlay.over(base);
        try (Scope scope = new Scope(torch)) {
            Tensor ids = scope.of(model.device(), tokens, n);
            Tensor positions = scope.of(model.device(), ascending(n), n);
            Tensor x = workspace.get("x", model.dtype(), n, config.hiddenSize());
            Tensor normed = workspace.get("normed", model.dtype(), n, config.hiddenSize());
            Tensor branch = workspace.get("branch", model.dtype(), n, config.hiddenSize());
            kernels.embed(weights.embedding(), ids, x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), norm(), normed, null);
            for (int l = 0; l < last; l++) {
                LlamaWeights.Layer layer = weights.layers().get(l);
                Tensor query = heads(workspace, "q", l, Projection.Q, normed, overlay, config.heads());
                Tensor key = heads(workspace, "k", l, Projection.K, normed, overlay, config.keyValueHeads());
                Tensor value = heads(workspace, "v", l, Projection.V, normed, overlay, config.keyValueHeads());
                kernels.rope(query, model.ropeTable(), positions, false);
                kernels.rope(key, model.ropeTable(), positions, false);
                cache.write(l, 0, key, value);
                Tensor attended = attend(workspace, query, key, value);
                linear(workspace, l, Projection.O, attended, overlay, branch);
                kernels.addRmsNorm(x, branch, x, layer.attentionNorm(), norm(), normed, null);
                feedForward(workspace, l, normed, overlay, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l + 1).inputNorm(), norm(), normed, null);
            }
            // Of the last layer only the last position is asked for; its keys and values are needed for every position.
            Tensor key = heads(workspace, "k", last, Projection.K, normed, overlay, config.keyValueHeads());
            Tensor value = heads(workspace, "v", last, Projection.V, normed, overlay, config.keyValueHeads());
            kernels.rope(key, model.ropeTable(), positions, false);
            cache.write(last, 0, key, value);
            cache.advance(n);
            Tensor lastX = x.narrow(scope, 0, n - 1, 1);
            Tensor lastNormed = normed.narrow(scope, 0, n - 1, 1);
            Tensor lastPosition = positions.narrow(scope, 0, n - 1, 1);
            Tensor query = heads(workspace, "q.1", last, Projection.Q, lastNormed, overlay, config.heads());
            kernels.rope(query, model.ropeTable(), lastPosition, false);
            return finish(workspace, last, lastX, cache, overlay);
        }
    }

    private float[] decodeOne(Workspace workspace, int token, KvCache cache, WeightOverlay overlay) {
        int last = config.layers() - 1;
        LlamaWeights weights = overlay.over(base);
        Tensor ids = workspace.get("id", DType.INT32, 1);
        ids.segment().set(ValueLayout.JAVA_INT, 0, token);
        Tensor position = workspace.get("position", DType.INT32, 1);
        position.segment().set(ValueLayout.JAVA_INT, 0, cache.length());
        Tensor x = workspace.get("x.1", model.dtype(), 1, config.hiddenSize());
        Tensor normed = workspace.get("normed.1", model.dtype(), 1, config.hiddenSize());
        Tensor branch = workspace.get("branch.1", model.dtype(), 1, config.hiddenSize());
        kernels.embed(weights.embedding(), ids, x);
        kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), norm(), normed, null);
        cache.advance(1);
        for (int l = 0; l <= last; l++) {
            Tensor query = heads(workspace, "q.1", l, Projection.Q, normed, overlay, config.heads());
            Tensor key = heads(workspace, "k.1", l, Projection.K, normed, overlay, config.keyValueHeads());
            Tensor value = heads(workspace, "v.1", l, Projection.V, normed, overlay, config.keyValueHeads());
            kernels.rope(query, model.ropeTable(), position, false);
            kernels.rope(key, model.ropeTable(), position, false);
            cache.write(l, cache.length() - 1, key, value);
            if (l == last) {
                return finish(workspace, last, x, cache, overlay);
            }
            attendLast(workspace, l, cache, overlay, branch);
            kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), norm(), normed, null);
            feedForward(workspace, l, normed, overlay, branch);
            kernels.addRmsNorm(x, branch, x, weights.layers().get(l + 1).inputNorm(), norm(), normed, null);
        }
        throw new AssertionError("a model has at least one layer");
    }

    /** The last layer from its attention on, for one position, and the head: logits [V]. */
    private float[] finish(Workspace workspace, int layer, Tensor x, KvCache cache, WeightOverlay overlay) {
        LlamaWeights weights = overlay.over(base);
        Tensor branch = workspace.get("branch.1", model.dtype(), 1, config.hiddenSize());
        Tensor normed = workspace.get("normed.1", model.dtype(), 1, config.hiddenSize());
        Tensor sum = workspace.get("x.1", model.dtype(), 1, config.hiddenSize());
        attendLast(workspace, layer, cache, overlay, branch);
        kernels.addRmsNorm(x, branch, sum, weights.layers().get(layer).attentionNorm(), norm(), normed, null);
        feedForward(workspace, layer, normed, overlay, branch);
        kernels.addRmsNorm(sum, branch, sum, weights.norm(), norm(), normed, null);
        Tensor logits = workspace.get("logits", DType.FP32, 1, config.vocabularySize());
        kernels.linear(normed, weights.head(), null, logits);
        return logits.segment().toArray(ValueLayout.JAVA_FLOAT);
    }

    /** Attention of the query in slot "q.1" over the cache, and its output projection. */
    private void attendLast(Workspace workspace, int layer, KvCache cache, WeightOverlay overlay, Tensor out) {
        Tensor query = workspace.get("q.1", model.dtype(), config.heads(), config.headDim());
        Tensor attended = workspace.get("attended.1", model.dtype(), config.heads(), config.headDim());
        kernels.decodeAttention(query, cache.keysByHead(layer), cache.valuesByHead(layer), cache.length(), attentionScale, attended);
        linear(workspace, layer, Projection.O,
                workspace.get("attended.1", model.dtype(), 1, (long) config.heads() * config.headDim()), overlay, out);
    }

    /** Projects to [N, heads, D]. */
    private Tensor heads(Workspace workspace, String slot, int layer, Projection projection, Tensor x, WeightOverlay overlay,
            int heads) {
        Tensor out = workspace.get(slot, model.dtype(), x.size(0), (long) heads * config.headDim());
        linear(workspace, layer, projection, x, overlay, out);
        return workspace.get(slot, model.dtype(), x.size(0), heads, config.headDim());
    }

    private void feedForward(Workspace workspace, int layer, Tensor normed, WeightOverlay overlay, Tensor out) {
        Tensor gate = workspace.get(normed.size(0) == 1 ? "gate.1" : "gate", model.dtype(), normed.size(0), config.intermediateSize());
        Tensor up = workspace.get(normed.size(0) == 1 ? "up.1" : "up", model.dtype(), normed.size(0), config.intermediateSize());
        linear(workspace, layer, Projection.GATE, normed, overlay, gate);
        linear(workspace, layer, Projection.UP, normed, overlay, up);
        kernels.swiGlu(gate, up, gate);
        linear(workspace, layer, Projection.DOWN, gate, overlay, out);
    }

    private void linear(Workspace workspace, int layer, Projection projection, Tensor x, WeightOverlay overlay, Tensor out) {
        Tensor weight = overlay.over(base).layers().get(layer).linear(projection);
        TileTable tiles = overlay.table(layer, projection);
        if (x.size(0) <= FEW_ROWS) {
            kernels.linear(x, weight, tiles, out);
            return;
        }
        Tensor effective = weight;
        if (tiles != null) {
            effective = workspace.get("assembled", model.dtype(), weight.sizes());
            kernels.assemble(weight, tiles, effective);
        }
        try (Scope scope = new Scope(torch)) {
            torch.mm(out, x, effective.transpose(scope, 0, 1));
        }
    }

    /** Causal attention of a whole prompt: query [N, Q, D], key and value [N, G, D]; returns [N, Q D]. */
    private Tensor attend(Workspace workspace, Tensor query, Tensor key, Tensor value) {
        int n = query.dim(0);
        Tensor out = workspace.get("attended", model.dtype(), n, config.heads(), config.headDim());
        try (Scope scope = new Scope(torch)) {
            kernels.causalAttention(query, key, value, scope.of(model.device(), new int[] {0, n}, 2), attentionScale, out, null);
        }
        return workspace.get("attended", model.dtype(), n, (long) config.heads() * config.headDim());
    }

    private float norm() {
        return (float) config.normEpsilon();
    }

    private static int[] ascending(int n) {
        int[] values = new int[n];
        for (int i = 0; i < n; i++) {
            values[i] = i;
        }
        return values;
    }

    /** Frees scratch memory; the model stays open. Not to be called while another thread is in a pass. */
    @Override
    public void close() {
        for (Workspace workspace = idle.poll(); workspace != null; workspace = idle.poll()) {
            workspace.close();
        }
    }
}
