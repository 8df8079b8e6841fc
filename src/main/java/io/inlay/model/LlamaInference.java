package io.inlay.model;

import io.inlay.Problem;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.KvPages;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Forward passes that keep nothing but the KV cache. Stateless between calls; threads may call at the same time with caches of their
 * own.
 *
 * <p>Legend: V vocabulary.
 *
 * <p>A sequence gives the same bits whatever goes with it, and however its prompt is cut. The pages that a prompt fills are taken in by
 * {@link #extend} ({@link DensePass}). All other positions go through {@link #step} ({@link StepPass}), whose kernels sum in an order that
 * depends on nothing else.
 */
public final class LlamaInference implements AutoCloseable {

    private final LlamaModel model;
    private final LlamaWeights base;
    private final PromptCut cut;
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
        this.base = weights;
        this.cut = PromptCut.of(model.device(), model.dtype());
    }

    /** Where prompts are cut for {@link #extend}. */
    public PromptCut cut() {
        return cut;
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
            for (int at = paged; at < tail; at = cache.length()) {
                extend(Arrays.copyOfRange(tokens, at - start, cut.end(at, tail, false) - start), tail, cache, overlay);
            }
        }
        int from = cache.length() - start;
        return stepThrough(tokens, from, tokens.length - from, cache, overlay, true);
    }

    private float[] stepThrough(int[] tokens, int from, int count, KvCache cache, WeightOverlay overlay, boolean asks) {
        List<Row> rows = new ArrayList<>();
        for (int i = from; i < from + count; i++) {
            rows.add(new Row(tokens[i], cache, overlay, asks && i == from + count - 1 ? Asked.LOGITS : Asked.NOTHING));
        }
        if (rows.isEmpty()) {
            return null;
        }
        return step(rows).getLast() instanceof Given.Logits last ? last.values() : null;
    }

    /** Appends one token and returns the logits [V] after it. */
    public float[] decode(int token, KvCache cache, WeightOverlay overlay) {
        requireTokens(new int[] {token});
        requireRoom(cache, 1);
        return ((Given.Logits) step(List.of(new Row(token, cache, overlay, Asked.LOGITS))).getFirst()).values();
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
     * @param asked what is wanted of the logits after it
     */
    public record Row(int token, KvCache cache, WeightOverlay overlay, Asked asked) {
    }

    /**
     * Appends a token to each row's cache, which has the pages for it; rows of one cache follow each other. Returns what each row is given
     * for what it asked. At most {@link Kernels#rowsOfAStep()} rows go together, and only over the same whole tensors.
     */
    public List<Given> step(List<Row> rows) {
        Given[] given = new Given[rows.size()];
        Arrays.fill(given, Given.NOTHING);
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
            for (int i = first; i < done.length && together.size() < model.kernels().rowsOfAStep(); i++) {
                if (!done[i] && rows.get(i).overlay().over(base) == weights) {
                    together.add(i);
                    done[i] = true;
                }
            }
            pass(rows, together, positions, weights, given);
        }
        rows.forEach(row -> row.cache().advance(1));
        return List.of(given);
    }

    private void pass(List<Row> rows, List<Integer> together, int[] positions, LlamaWeights weights, Given[] given) {
        try (Borrowed borrowed = borrow()) {
            new StepPass(model, borrowed.workspace, weights, together.stream().map(rows::get).toList(),
                    together.stream().mapToInt(i -> positions[i]).toArray()).run((row, each) -> given[together.get(row)] = each);
        }
    }

    private void requireTokens(int[] tokens) {
        for (int token : tokens) {
            if (token < 0 || token >= model.config().vocabularySize()) {
                throw new IllegalArgumentException("token " + token + " is not of a vocabulary of " + model.config().vocabularySize());
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
        return new Borrowed(found == null ? new Workspace(model.torch(), model.device()) : found);
    }

    /**
     * Appends whole pages of tokens to a cache that ends with a page and has the pages for them. No logits: of the last layer only keys and
     * values are made.
     *
     * @param tokens up to the {@link PromptCut#end} of where the cache ends, or less
     * @param whole positions of the prompt that are taken in so, before and after these included
     */
    public void extend(int[] tokens, int whole, KvCache cache, WeightOverlay overlay) {
        int n = tokens.length;
        int start = cache.length();
        if (n == 0 || n % KvPages.PAGE != 0 || start % KvPages.PAGE != 0) {
            throw new IllegalArgumentException(n + " tokens behind " + start + " positions are not whole pages of " + KvPages.PAGE);
        }
        if (start + n > cut.end(start, whole, false)) {
            throw new IllegalArgumentException(n + " tokens behind " + start + " of " + whole + " positions are more than the "
                    + (cut.end(start, whole, false) - start) + " that are taken in at a time");
        }
        requireTokens(tokens);
        requireRoom(cache, n);
        try (Borrowed borrowed = borrow()) {
            new DensePass(model, base, borrowed.workspace).keysAndValues(tokens, start, window(start, n, whole), overlay, new DensePass.Attention() {
                @Override
                public void keep(int layer, Tensor keys, Tensor values) {
                    model.kernels().keep(keys, values, cache.view(layer, start + n));
                }

                @Override
                public void attend(int layer, Tensor query, Tensor keys, Tensor values, float scale, Tensor out) {
                    model.kernels().pagedCausalAttention(query, cache.view(layer, start + n), scale, out);
                }
            });
        }
        cache.advance(n);
    }

    private PromptCut.Window window(int start, int count, int whole) {
        return cut.windows() ? cut.window(start, whole) : new PromptCut.Window(start, start + count);
    }

    /** Frees scratch memory; the model stays open. Not to be called while another thread is in a pass. */
    @Override
    public void close() {
        for (Workspace workspace = idle.poll(); workspace != null; workspace = idle.poll()) {
            workspace.close();
        }
    }
}
