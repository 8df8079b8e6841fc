package io.inlay.model;

import io.inlay.kernels.Draw;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.KvPages;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * One pass of some rows, each of a sequence and a delta of its own, through kernels that read each weight once.
 *
 * <p>Legend: R rows, r of them that ask, H hidden, Q query heads, G key/value heads, D head dimension, V vocabulary.
 */
final class StepPass {

    /** What is handed to a device at a time: so many launches that the device is busy while the next are made. */
    private static final int LAYERS_TOGETHER = 4;

    private final LlamaModel model;
    private final Kernels kernels;
    private final LlamaConfig config;
    private final Workspace workspace;
    private final LlamaWeights weights;
    private final List<LlamaInference.Row> rows;
    private final int[] positions;
    private final int[] asking;
    private List<WeightOverlay> overlays;

    /** Takes what a row is given that asked for something. */
    interface Taker {
        void take(int row, Given given);
    }

    /**
     * @param weights that all rows share but for their blocks
     * @param positions of the rows' tokens, for which their caches have pages
     */
    StepPass(LlamaModel model, Workspace workspace, LlamaWeights weights, List<LlamaInference.Row> rows, int[] positions) {
        this.model = model;
        this.kernels = model.kernels();
        this.config = model.config();
        this.workspace = workspace;
        this.weights = weights;
        this.rows = rows;
        this.positions = positions;
        this.asking = IntStream.range(0, rows.size()).filter(i -> !rows.get(i).asked().equals(Asked.NOTHING)).toArray();
        this.overlays = rows.stream().map(LlamaInference.Row::overlay).toList();
    }

    void run(Taker taker) {
        Tensor ids = integers("ids", rows.stream().mapToInt(LlamaInference.Row::token).toArray());
        Tensor at = integers("positions", positions);
        Tensor chosen = asking.length == 0 || asking.length == rows.size() ? null : integers("asking rows", asking);
        for (int l = 0; l < config.layers(); l += LAYERS_TOGETHER) {
            int from = l;
            kernels.together(() -> layers(from, Math.min(from + LAYERS_TOGETHER, config.layers()), ids, at, chosen));
        }
        if (asking.length > 0) {
            give(taker);
        }
    }

    /** Layers {@code from} to {@code to - 1}; before the first the embedding, in the last only what is asked for, and the head. */
    private void layers(int from, int to, Tensor ids, Tensor at, Tensor chosen) {
        int r = rows.size();
        int last = config.layers() - 1;
        Tensor x = slot("x", r, config.hiddenSize());
        Tensor normed = slot("normed", r, config.hiddenSize());
        Tensor branch = slot("branch", r, config.hiddenSize());
        if (from == 0) {
            kernels.embed(weights.embedding(), ids, x);
            kernels.rmsNorm(x, weights.layers().getFirst().inputNorm(), norm(), normed, null);
        }
        for (int l = from; l < to; l++) {
            List<Tensor> projected = heads(l, normed);
            Tensor query = projected.get(0);
            Tensor key = projected.get(1);
            Tensor value = projected.get(2);
            List<KvPages> caches = new ArrayList<>();
            for (int i = 0; i < r; i++) {
                caches.add(rows.get(i).cache().view(l, positions[i] + 1));
            }
            kernels.ropeAndKeep(query, key, value, model.ropeTable(), at, caches);
            if (l == last) {
                finish(l, x, caches, chosen);
                return;
            }
            attend(l, query, caches, branch);
            kernels.addRmsNorm(x, branch, x, weights.layers().get(l).attentionNorm(), norm(), normed, null);
            feedForward(l, normed, branch);
            kernels.addRmsNorm(x, branch, x, weights.layers().get(l + 1).inputNorm(), norm(), normed, null);
        }
    }

    /**
     * The last layer from its attention on, and the head, for the rows that ask.
     *
     * @param chosen which rows those are, null for all
     */
    private void finish(int layer, Tensor x, List<KvPages> caches, Tensor chosen) {
        int r = asking.length;
        if (r == 0) {
            return;
        }
        Tensor sum = x;
        Tensor query = slot("q", rows.size(), config.heads(), config.headDim());
        if (chosen != null) {
            sum = slot("sum", r, config.hiddenSize());
            kernels.embed(x, chosen, sum);
            long width = (long) config.heads() * config.headDim();
            kernels.embed(slot("q", rows.size(), width), chosen, slot("asking", r, width));
            query = slot("asking", r, config.heads(), config.headDim());
        }
        overlays = Arrays.stream(asking).mapToObj(i -> rows.get(i).overlay()).toList();
        Tensor branch = slot("branch", r, config.hiddenSize());
        Tensor normed = slot("normed", r, config.hiddenSize());
        attend(layer, query, Arrays.stream(asking).mapToObj(caches::get).toList(), branch);
        kernels.addRmsNorm(sum, branch, sum, weights.layers().get(layer).attentionNorm(), norm(), normed, null);
        feedForward(layer, normed, branch);
        kernels.addRmsNorm(sum, branch, sum, weights.norm(), norm(), normed, null);
        ServedLinear.run(model, normed, weights.head(), logits());
    }

    /** [r, V] */
    private Tensor logits() {
        return workspace.get("step.logits", DType.FP32, asking.length, config.vocabularySize());
    }

    /** Draws for all who ask for a token, where the logits [r, V] are, and brings the rows of those to the host who ask for logits. */
    private void give(Taker taker) {
        Tensor logits = logits();
        List<Draw> draws = new ArrayList<>();
        for (int row : asking) {
            draws.add(rows.get(row).asked() instanceof Asked.Token token ? token.draw() : null);
        }
        try (Scope copies = new Scope(model.torch())) {
            int[] ids = new int[asking.length];
            if (draws.stream().anyMatch(Objects::nonNull)) {
                Tensor drawn = workspace.get("step.drawn", DType.INT32, asking.length);
                kernels.draw(logits, draws, drawn);
                MemorySegment.copy(copies.onHost(drawn).segment(), ValueLayout.JAVA_INT, 0, ids, 0, ids.length);
            }
            for (int i = 0; i < asking.length; i++) {
                Tensor row = logits.narrow(copies, 0, i, 1);
                taker.take(asking[i], switch (rows.get(asking[i]).asked()) {
                    case Asked.Nothing _ -> Given.NOTHING;
                    case Asked.Logits _ -> new Given.Logits(floats(copies, row));
                    case Asked.Token _ -> ids[i] >= 0 ? new Given.Token(ids[i]) : refused(copies, row, -1 - ids[i]);
                });
            }
        }
    }

    /** For a drawn id that names the first token whose logit is none. */
    private static Given refused(Scope copies, Tensor row, int token) {
        return new Given.Refused(token, floats(copies, row.narrow(copies, 1, token, 1))[0]);
    }

    private static float[] floats(Scope copies, Tensor row) {
        return copies.onHost(row).segment().toArray(ValueLayout.JAVA_FLOAT);
    }

    /** Attention of the rows over their caches, and its output projection. */
    private void attend(int layer, Tensor query, List<KvPages> caches, Tensor out) {
        Tensor attended = slot("attended", caches.size(), config.heads(), config.headDim());
        kernels.pagedAttention(query, caches, (float) (1 / Math.sqrt(config.headDim())), attended);
        linear(layer, Projection.O, slot("attended", caches.size(), (long) config.heads() * config.headDim()), out);
    }

    private void feedForward(int layer, Tensor normed, Tensor out) {
        List<Projection> both = List.of(Projection.GATE, Projection.UP);
        Tensor gated = slot("gate", normed.size(0), config.intermediateSize());
        Tensor up = slot("up", normed.size(0), config.intermediateSize());
        if (both.stream().allMatch(each -> ServedLinear.plain(model, weight(layer, each), tables(layer, each)))) {
            kernels.gatedLinear(normed, weight(layer, Projection.GATE), weight(layer, Projection.UP), up, gated);
        } else {
            linears(layer, both, normed, List.of(gated, up));
            kernels.swiGlu(gated, up, gated);
        }
        linear(layer, Projection.DOWN, gated, out);
    }

    /** Query, key and value of the rows. */
    private List<Tensor> heads(int layer, Tensor x) {
        long r = x.size(0);
        int dim = config.headDim();
        long queries = (long) config.heads() * dim;
        long keys = (long) config.keyValueHeads() * dim;
        linears(layer, List.of(Projection.Q, Projection.K, Projection.V), x, List.of(slot("q", r, queries), slot("k", r, keys),
                slot("v", r, keys)));
        return List.of(slot("q", r, config.heads(), dim), slot("k", r, config.keyValueHeads(), dim),
                slot("v", r, config.keyValueHeads(), dim));
    }

    private void linear(int layer, Projection projection, Tensor x, Tensor out) {
        ServedLinear.run(model, x, weight(layer, projection), tables(layer, projection), out);
    }

    private void linears(int layer, List<Projection> projections, Tensor x, List<Tensor> outs) {
        ServedLinear.run(model, x, projections.stream().map(each -> weight(layer, each)).toList(),
                projections.stream().map(each -> tables(layer, each)).toList(), outs);
    }

    private Tensor weight(int layer, Projection projection) {
        return weights.layers().get(layer).linear(projection);
    }

    /** A table, or null, for each row. */
    private List<TileTable> tables(int layer, Projection projection) {
        return overlays.stream().map(each -> each.table(layer, projection)).toList();
    }

    private Tensor integers(String name, int[] values) {
        Tensor made = workspace.get("step." + name, DType.INT32, values.length);
        made.fill(MemorySegment.ofArray(values));
        return made;
    }

    private Tensor slot(String name, long... sizes) {
        return workspace.get("step." + name, model.dtype(), sizes);
    }

    private float norm() {
        return (float) config.normEpsilon();
    }
}
