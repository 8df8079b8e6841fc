package io.inlay.model;

import io.inlay.Problem;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.KvPages;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.IntStream;

/**
 * Forward passes that keep nothing but the KV cache. Stateless between calls; threads may call at the same time with caches of their
 * own.
 *
 * <p>Legend: N tokens of this call, R rows of a step, H hidden, F feed-forward, Q query heads, G key/value heads, D head dimension, V
 * vocabulary.
 *
 * <p>A sequence gives the same bits whatever goes with it, and however its prompt is cut. The pages that a prompt fills are taken in by
 * {@link #extend}: bf16 through libtorch's GEMM, over the base's own memory or a scratch weight with the delta's blocks in place, whose
 * rows do not depend on how many there are (2 or more; a test holds it); fp32, of which that is not so, through the kernels. All other
 * positions go through {@link #step}, whose kernels sum in an order that depends on nothing else.
 */
public final class LlamaInference implements AutoCloseable {

    /** Rows of one pass through the kernels. */
    public static final int FEW_ROWS = 16;

    /** Positions of a prompt that are taken in at a time at most, a multiple of a page. */
    public static final int CHUNK = 512;

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

    /** An empty cache for one sequence of up to {@code capacity} positions, with memory of its own. */
    public KvCache cache(int capacity) {
        return new KvCache(model, new KvPool(model, Math.max(1, KvPool.pagesFor(capacity))), capacity, true);
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
        int start = cache.length();
        requireRoom(cache, tokens.length);
        int paged = Math.ceilDiv(start, KvPages.PAGE) * KvPages.PAGE;
        int tail = (start + tokens.length - 1) / KvPages.PAGE * KvPages.PAGE;
        if (tail > paged) {
            stepThrough(tokens, 0, paged - start, cache, overlay, false);
            for (int at = paged; at < tail; at += CHUNK) {
                extend(Arrays.copyOfRange(tokens, at - start, Math.min(at + CHUNK, tail) - start), cache, overlay);
            }
        }
        int from = cache.length() - start;
        return stepThrough(tokens, from, tokens.length - from, cache, overlay, true);
    }

    private float[] stepThrough(int[] tokens, int from, int count, KvCache cache, WeightOverlay overlay, boolean asks) {
        List<Row> rows = new ArrayList<>();
        for (int i = from; i < from + count; i++) {
            rows.add(new Row(tokens[i], cache, overlay, asks && i == from + count - 1));
        }
        return rows.isEmpty() ? null : step(rows)[count - 1];
    }

    /** Appends one token and returns the logits [V] after it. */
    public float[] decode(int token, KvCache cache, WeightOverlay overlay) {
        requireTokens(new int[] {token});
        requireRoom(cache, 1);
        return step(List.of(new Row(token, cache, overlay, true)))[0];
    }

    private static void requireRoom(KvCache cache, int tokens) {
        if (cache.length() + tokens > cache.capacity()) {
            throw new Problem(Problem.Code.CONTEXT_LENGTH_EXCEEDED, tokens + " tokens do not fit behind the " + cache.length()
                    + " in a cache of " + cache.capacity() + "; shorten the prompt or open a larger cache");
        }
        if (!cache.reserve(cache.length() + tokens)) {
            throw new IllegalStateException("the pool has no pages for " + (cache.length() + tokens) + " positions; reserve them first");
        }
    }

    /**
     * One token that is appended to a cache.
     *
     * @param asks whether the logits after it are wanted
     */
    public record Row(int token, KvCache cache, WeightOverlay overlay, boolean asks) {
    }

    /**
     * Appends a token to each row's cache, which has the pages for it; rows of one cache follow each other. Returns the logits [V] of those
     * who ask, null for the others. At most {@value #FEW_ROWS} rows go together, and only over the same whole tensors.
     */
    public float[][] step(List<Row> rows) {
        float[][] logits = new float[rows.size()][];
        int[] positions = new int[rows.size()];
        for (int i = 0; i < positions.length; i++) {
            KvCache own = rows.get(i).cache();
            positions[i] = own.length() + (int) rows.subList(0, i).stream().filter(each -> each.cache() == own).count();
        }
        boolean[] done = new boolean[rows.size()];
        for (int first = 0; first < done.length; first++) {
            if (done[first]) {
                continue;
            }
            LlamaWeights weights = rows.get(first).overlay().over(base);
            List<Integer> together = new ArrayList<>();
            for (int i = first; i < done.length && together.size() < FEW_ROWS; i++) {
                if (!done[i] && rows.get(i).overlay().over(base) == weights) {
                    together.add(i);
                    done[i] = true;
                }
            }
            pass(rows, together, positions, weights, logits);
        }
        rows.forEach(row -> row.cache().advance(1));
        return logits;
    }

    private void pass(List<Row> rows, List<Integer> together, int[] positions, LlamaWeights weights, float[][] logits) {
        try (Borrowed borrowed = borrow()) {
            new StepPass(borrowed.workspace, weights, together.stream().map(rows::get).toList(),
                    together.stream().mapToInt(i -> positions[i]).toArray()).run((row, values) -> logits[together.get(row)] = values);
        }
    }

    private void requireTokens(int[] tokens) {
        for (int token : tokens) {
            if (token < 0 || token >= config.vocabularySize()) {
                throw new IllegalArgumentException("token " + token + " is not of a vocabulary of " + config.vocabularySize());
            }
        }
    }

    private final class Borrowed implements AutoCloseable {
        private final Workspace workspace;

        private Borrowed(Workspace workspace) {
            this.workspace = workspace;
        }

        @Override
        public void close() {
            idle.add(workspace);
        }
    }

    private Borrowed borrow() {
        Workspace found = idle.poll();
        return new Borrowed(found == null ? new Workspace(torch, model.device()) : found);
    }

    /**
     * Appends whole pages of tokens to a cache that ends with a page and has the pages for them. No logits: of the last layer only keys and
     * values are made.
     */
    public void extend(int[] tokens, KvCache cache, WeightOverlay overlay) {
        int n = tokens.length;
        int start = cache.length();
        if (n == 0 || n % KvPages.PAGE != 0 || start % KvPages.PAGE != 0) {
            throw new IllegalArgumentException(n + " tokens behind " + start + " positions are not whole pages of " + KvPages.PAGE);
        }
        requireTokens(tokens);
        requireRoom(cache, n);
        LlamaWeights weights = overlay.over(base);
        int last = config.layers() - 1;
        try (Borrowed borrowed = borrow(); Scope scope = new Scope(torch)) {
            Workspace workspace = borrowed.workspace;
            Tensor ids = scope.of(model.device(), tokens, n);
            Tensor positions = scope.of(model.device(), ascending(start, n), n);
            Tensor x = workspace.get("x", model.dtype(), n, config.hiddenSize());
            Tensor normed = workspace.get("normed", model.dtype(), n, config.hiddenSize());
            Tensor branch = workspace.get("branch", model.dtype(), n, config.hiddenSize());
            kernels.embed(weights.embedding(), ids, x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), norm(), normed, null);
            for (int l = 0; l <= last; l++) {
                Tensor key = heads(workspace, "k", l, Projection.K, normed, overlay, config.keyValueHeads());
                Tensor value = heads(workspace, "v", l, Projection.V, normed, overlay, config.keyValueHeads());
                kernels.rope(key, model.ropeTable(), positions, false);
                cache.write(l, start, key, value, 0, n);
                if (l == last) {
                    break;
                }
                Tensor query = heads(workspace, "q", l, Projection.Q, normed, overlay, config.heads());
                kernels.rope(query, model.ropeTable(), positions, false);
                Tensor attended = workspace.get("attended", model.dtype(), n, config.heads(), config.headDim());
                kernels.pagedCausalAttention(query, cache.view(l, start + n), attentionScale, attended);
                linear(workspace, l, Projection.O, workspace.get("attended", model.dtype(), n, (long) config.heads() * config.headDim()),
                        overlay, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), norm(), normed, null);
                feedForward(workspace, l, normed, overlay, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l + 1).inputNorm(), norm(), normed, null);
            }
        }
        cache.advance(n);
    }

    /** Projects to [N, heads, D]. */
    private Tensor heads(Workspace workspace, String slot, int layer, Projection projection, Tensor x, WeightOverlay overlay,
            int heads) {
        Tensor out = workspace.get(slot, model.dtype(), x.size(0), (long) heads * config.headDim());
        linear(workspace, layer, projection, x, overlay, out);
        return workspace.get(slot, model.dtype(), x.size(0), heads, config.headDim());
    }

    private void feedForward(Workspace workspace, int layer, Tensor normed, WeightOverlay overlay, Tensor out) {
        Tensor gate = workspace.get("gate", model.dtype(), normed.size(0), config.intermediateSize());
        Tensor up = workspace.get("up", model.dtype(), normed.size(0), config.intermediateSize());
        linear(workspace, layer, Projection.GATE, normed, overlay, gate);
        linear(workspace, layer, Projection.UP, normed, overlay, up);
        kernels.swiGlu(gate, up, gate);
        linear(workspace, layer, Projection.DOWN, gate, overlay, out);
    }

    private void linear(Workspace workspace, int layer, Projection projection, Tensor x, WeightOverlay overlay, Tensor out) {
        Tensor weight = overlay.over(base).layers().get(layer).linear(projection);
        TileTable tiles = overlay.table(layer, projection);
        try (Scope scope = new Scope(torch)) {
            if (model.dtype() != DType.BF16) {
                for (long row = 0; row < x.size(0); row += FEW_ROWS) {
                    long rows = Math.min(FEW_ROWS, x.size(0) - row);
                    kernels.linear(x.narrow(scope, 0, row, rows), weight, tiles, out.narrow(scope, 0, row, rows));
                }
                return;
            }
            Tensor effective = weight;
            if (tiles != null) {
                effective = workspace.get("assembled", model.dtype(), weight.sizes());
                kernels.assemble(weight, tiles, effective);
            }
            torch.mm(out, x, effective.transpose(scope, 0, 1));
        }
    }

    private float norm() {
        return (float) config.normEpsilon();
    }

    private static int[] ascending(int from, int n) {
        int[] values = new int[n];
        for (int i = 0; i < n; i++) {
            values[i] = from + i;
        }
        return values;
    }

    private interface Taker {
        void take(int row, float[] logits);
    }

    /** One pass of at most {@value #FEW_ROWS} rows, each of a sequence and a delta of its own. */
    private final class StepPass {
        private final Workspace workspace;
        private final LlamaWeights weights;
        private final List<Row> rows;
        private final int[] positions;
        private List<WeightOverlay> overlays;

        private StepPass(Workspace workspace, LlamaWeights weights, List<Row> rows, int[] positions) {
            this.workspace = workspace;
            this.weights = weights;
            this.rows = rows;
            this.positions = positions;
            this.overlays = rows.stream().map(Row::overlay).toList();
        }

        private void run(Taker taker) {
            int r = rows.size();
            int last = config.layers() - 1;
            Tensor at = integers("positions", positions);
            Tensor x = slot("x", r, config.hiddenSize());
            Tensor normed = slot("normed", r, config.hiddenSize());
            Tensor branch = slot("branch", r, config.hiddenSize());
            kernels.embed(weights.embedding(), integers("ids", rows.stream().mapToInt(Row::token).toArray()), x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), norm(), normed, null);
            for (int l = 0; l <= last; l++) {
                Tensor query = heads("q", l, Projection.Q, normed, config.heads());
                Tensor key = heads("k", l, Projection.K, normed, config.keyValueHeads());
                Tensor value = heads("v", l, Projection.V, normed, config.keyValueHeads());
                kernels.rope(query, model.ropeTable(), at, false);
                kernels.rope(key, model.ropeTable(), at, false);
                List<KvPages> caches = new ArrayList<>();
                for (int i = 0; i < r; i++) {
                    rows.get(i).cache().write(l, positions[i], key, value, i, 1);
                    caches.add(rows.get(i).cache().view(l, positions[i] + 1));
                }
                if (l == last) {
                    finish(l, x, query, caches, taker);
                    return;
                }
                attend(l, query, caches, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), norm(), normed, null);
                feedForward(l, normed, branch);
                kernels.addRmsNorm(x, branch, x, weights.layers().get(l + 1).inputNorm(), norm(), normed, null);
            }
        }

        /** The last layer from its attention on, and the head, for the rows that ask. */
        private void finish(int layer, Tensor x, Tensor query, List<KvPages> caches, Taker taker) {
            int[] asking = IntStream.range(0, rows.size()).filter(i -> rows.get(i).asks()).toArray();
            int r = asking.length;
            if (r == 0) {
                return;
            }
            Tensor sum = compact("sum", x, asking, config.hiddenSize());
            compact("asking", query, asking, (long) config.heads() * config.headDim());
            overlays = Arrays.stream(asking).mapToObj(i -> rows.get(i).overlay()).toList();
            Tensor branch = slot("branch", r, config.hiddenSize());
            Tensor normed = slot("normed", r, config.hiddenSize());
            attend(layer, slot("asking", r, config.heads(), config.headDim()), Arrays.stream(asking).mapToObj(caches::get).toList(), branch);
            kernels.addRmsNorm(sum, branch, sum, weights.layers().get(layer).attentionNorm(), norm(), normed, null);
            feedForward(layer, normed, branch);
            kernels.addRmsNorm(sum, branch, sum, weights.norm(), norm(), normed, null);
            Tensor logits = workspace.get("step.logits", DType.FP32, r, config.vocabularySize());
            kernels.linear(normed, weights.head(), null, logits);
            long bytes = 4L * config.vocabularySize();
            for (int i = 0; i < r; i++) {
                taker.take(asking[i], logits.segment().asSlice(i * bytes, bytes).toArray(ValueLayout.JAVA_FLOAT));
            }
        }

        /** The chosen rows of [R, ...], one behind another as [r, width]. */
        private Tensor compact(String name, Tensor of, int[] chosen, long width) {
            Tensor to = slot(name, chosen.length, width);
            long bytes = width * model.dtype().bytes();
            for (int i = 0; i < chosen.length; i++) {
                MemorySegment.copy(of.segment(), chosen[i] * bytes, to.segment(), i * bytes, bytes);
            }
            return to;
        }

        /** Attention of the rows over their caches, and its output projection. */
        private void attend(int layer, Tensor query, List<KvPages> caches, Tensor out) {
            Tensor attended = slot("attended", caches.size(), config.heads(), config.headDim());
            kernels.pagedAttention(query, caches, attentionScale, attended);
            linear(layer, Projection.O, slot("attended", caches.size(), (long) config.heads() * config.headDim()), out);
        }

        private void feedForward(int layer, Tensor normed, Tensor out) {
            Tensor gate = slot("gate", normed.size(0), config.intermediateSize());
            Tensor up = slot("up", normed.size(0), config.intermediateSize());
            linear(layer, Projection.GATE, normed, gate);
            linear(layer, Projection.UP, normed, up);
            kernels.swiGlu(gate, up, gate);
            linear(layer, Projection.DOWN, gate, out);
        }

        private Tensor heads(String name, int layer, Projection projection, Tensor x, int heads) {
            linear(layer, projection, x, slot(name, x.size(0), (long) heads * config.headDim()));
            return slot(name, x.size(0), heads, config.headDim());
        }

        private void linear(int layer, Projection projection, Tensor x, Tensor out) {
            Tensor weight = weights.layers().get(layer).linear(projection);
            TileTable first = overlays.getFirst().table(layer, projection);
            if (overlays.stream().allMatch(each -> each.table(layer, projection) == first)) {
                kernels.linear(x, weight, first, out);
            } else {
                kernels.linearMixed(x, weight, overlays.stream().map(each -> each.table(layer, projection)).toList(), out);
            }
        }

        private Tensor integers(String name, int[] values) {
            Tensor made = workspace.get("step." + name, DType.INT32, values.length);
            MemorySegment.copy(MemorySegment.ofArray(values), 0, made.segment(), 0, 4L * values.length);
            return made;
        }

        private Tensor slot(String name, long... sizes) {
            return workspace.get("step." + name, model.dtype(), sizes);
        }
    }

    /** Frees scratch memory; the model stays open. Not to be called while another thread is in a pass. */
    @Override
    public void close() {
        for (Workspace workspace = idle.poll(); workspace != null; workspace = idle.poll()) {
            workspace.close();
        }
    }
}
