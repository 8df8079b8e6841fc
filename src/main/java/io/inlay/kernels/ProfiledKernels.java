package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Profile;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.stream.Stream;

/** Kernels that write the time of every call into a {@link Profile} and leave the work to others. */
public final class ProfiledKernels implements Kernels {

    private final Kernels kernels;
    private final Profile profile;

    public ProfiledKernels(Kernels kernels, Profile profile) {
        this.kernels = kernels;
        this.profile = profile;
    }

    @Override
    public String name() {
        return kernels.name();
    }

    @Override
    public int rowsOfAStep() {
        return kernels.rowsOfAStep();
    }

    @Override
    public void together(Runnable work) {
        kernels.together(work);
    }

    @Override
    public void embed(Tensor table, Tensor ids, Tensor out) {
        long start = System.nanoTime();
        kernels.embed(table, ids, out);
        profile.add("embed", start, 0, out, ids, out);
    }

    @Override
    public void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        long start = System.nanoTime();
        kernels.embedBackward(gradOut, ids, gradTable);
        profile.add("embed backward", start, 0, gradOut, ids, gradOut, gradOut);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        long start = System.nanoTime();
        kernels.rmsNorm(x, weight, eps, out, rstd);
        profile.add("rms norm", start, 0, x, weight, out, rstd);
    }

    @Override
    public void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        long start = System.nanoTime();
        kernels.addRmsNorm(x, y, sum, weight, eps, out, rstd);
        profile.add("add rms norm", start, 0, x, y, sum, weight, out, rstd);
    }

    @Override
    public void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        long start = System.nanoTime();
        kernels.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
        profile.add("rms norm backward", start, 0, gradOut, x, weight, rstd, gradX, gradWeight);
    }

    @Override
    public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        long start = System.nanoTime();
        kernels.rope(x, table, positions, inverse);
        profile.add("rope", start, 0, x, table, positions);
    }

    @Override
    public void swiGlu(Tensor gate, Tensor up, Tensor out) {
        long start = System.nanoTime();
        kernels.swiGlu(gate, up, out);
        profile.add("swi glu", start, 0, gate, up, out);
    }

    @Override
    public void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        long start = System.nanoTime();
        kernels.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
        profile.add("swi glu backward", start, 0, gradOut, gate, up, gradGate, gradUp);
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        long start = System.nanoTime();
        kernels.crossEntropy(logits, targets, scale, gradient, losses);
        profile.add("cross entropy", start, 0, logits, targets, losses);
    }

    @Override
    public void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step) {
        long start = System.nanoTime();
        kernels.adamW(gradient, master, first, second, weight, step);
        profile.add("adam w", start, 0, gradient, master, first, second, weight);
    }

    @Override
    public double sumOfSquares(Tensor x) {
        long start = System.nanoTime();
        double result = kernels.sumOfSquares(x);
        profile.add("sum of squares", start, 0, x);
        return result;
    }

    @Override
    public void accumulate(Tensor accumulator, Tensor x) {
        long start = System.nanoTime();
        kernels.accumulate(accumulator, x);
        profile.add("accumulate", start, 0, accumulator, x);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        long start = System.nanoTime();
        kernels.add(x, y);
        profile.add("add", start, 0, x, y);
    }

    @Override
    public void blockAbsoluteMean(Tensor g, int edge, Tensor scores) {
        long start = System.nanoTime();
        kernels.blockAbsoluteMean(g, edge, scores);
        profile.add("block absolute mean", start, 0, g, scores);
    }

    @Override
    public void blockMean(Tensor g, int edge, Tensor scores) {
        long start = System.nanoTime();
        kernels.blockMean(g, edge, scores);
        profile.add("block mean", start, 0, g, scores);
    }

    /** Where its products are libtorch's, which writes them into the same profile, this is what they leave of the call. */
    @Override
    public void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        long before = profile.nanos();
        long start = System.nanoTime();
        kernels.blockGradients(gradOut, x, blocks, edge, gradients);
        long written = profile.nanos() - before;
        profile.add("block gradients", start + written, written > 0 ? 0 : 2 * x.size(0) * gradients.elements(), gradOut, x, gradients);
    }

    /** Those of libtorch are written down there. */
    @Override
    public void product(Tensor out, Tensor a, Tensor b, boolean add) {
        long before = profile.nanos();
        long start = System.nanoTime();
        kernels.product(out, a, b, add);
        if (profile.nanos() == before) {
            profile.add("product " + out.size(0) + " x " + a.size(1) + " x " + out.size(1), start, 2 * out.elements() * a.size(1), out, a, b);
        }
    }

    @Override
    public boolean suitsManyRows(DType type) {
        return kernels.suitsManyRows(type);
    }

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        long start = System.nanoTime();
        kernels.linear(x, w, tiles, y);
        profile.add("linear", start, 2 * x.elements() * w.size(0), x, w, y);
    }

    @Override
    public void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        long start = System.nanoTime();
        kernels.linearMixed(x, w, tiles, y);
        profile.add("linear of few rows, mixed", start, 2 * x.elements() * w.size(0), x, w, y);
    }

    @Override
    public void linears(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {
        long start = System.nanoTime();
        kernels.linears(x, weights, tiles, outs);
        long outputs = weights.stream().mapToLong(each -> each.size(0)).sum();
        Tensor[] operands = Stream.of(List.of(x), weights, outs).flatMap(List::stream).toArray(Tensor[]::new);
        profile.add("linears of few rows", start, 2 * x.elements() * outputs, operands);
    }

    @Override
    public void gatedLinear(Tensor x, Tensor gate, Tensor up, Tensor scratch, Tensor out) {
        long start = System.nanoTime();
        kernels.gatedLinear(x, gate, up, scratch, out);
        profile.add("gated linear", start, 4 * x.elements() * gate.size(0), x, gate, up, out);
    }

    @Override
    public void pagedAttention(Tensor q, List<KvPages> caches, float scale, Tensor out) {
        long start = System.nanoTime();
        kernels.pagedAttention(q, caches, scale, out);
        profile.add("paged attention", start, 0, q, out);
    }

    @Override
    public void pagedCausalAttention(Tensor q, KvPages cache, float scale, Tensor out) {
        long start = System.nanoTime();
        kernels.pagedCausalAttention(q, cache, scale, out);
        profile.add("paged causal attention", start, 0, q, out);
    }

    @Override
    public void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        long start = System.nanoTime();
        kernels.linearInt8(x, w, tiles, y);
        profile.add("linear of few rows, int8", start, 2 * x.elements() * y.size(1), x, w.values(), w.scales(), y);
    }

    @Override
    public void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        long start = System.nanoTime();
        kernels.dequantise(w, tiles, out);
        profile.add("dequantise", start, 0, w.values(), w.scales(), out);
    }

    @Override
    public void keep(Tensor keys, Tensor values, List<KvPages> caches) {
        long start = System.nanoTime();
        kernels.keep(keys, values, caches);
        profile.add("keep", start, 0, keys, values);
    }

    @Override
    public void keep(Tensor keys, Tensor values, KvPages cache) {
        long start = System.nanoTime();
        kernels.keep(keys, values, cache);
        profile.add("keep", start, 0, keys, values);
    }

    @Override
    public void ropeAndKeep(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, List<KvPages> caches) {
        long start = System.nanoTime();
        kernels.ropeAndKeep(query, key, value, table, positions, caches);
        profile.add("rope and keep", start, 0, query, key, value, table, positions);
    }

    @Override
    public void assemble(Tensor w, TileTable tiles, Tensor out) {
        long start = System.nanoTime();
        kernels.assemble(w, tiles, out);
        profile.add("assemble", start, 0, w, out);
    }

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        long start = System.nanoTime();
        kernels.decodeAttention(q, keys, values, length, scale, out);
        profile.add("decode attention", start, 0, q, keys, values, out);
    }

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        long start = System.nanoTime();
        kernels.causalAttention(q, k, v, starts, scale, out, logSumExp);
        profile.add("causal attention", start, 2 * pairs(starts) * q.size(1) * q.size(2) * 2, q, k, v, out, logSumExp);
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        long start = System.nanoTime();
        kernels.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, scale, gradQ, gradK, gradV);
        profile.add("causal attention backward", start, 2 * pairs(starts) * q.size(1) * q.size(2) * 5, gradOut, q, k, v, out, logSumExp,
                gradQ, gradK, gradV);
    }

    /** Pairs of a query and a key that it sees, in one head. */
    private static long pairs(Tensor starts) {
        long pairs = 0;
        for (long s = 0; s + 1 < starts.size(0); s++) {
            long length = starts.segment().getAtIndex(ValueLayout.JAVA_INT, s + 1) - starts.segment().getAtIndex(ValueLayout.JAVA_INT, s);
            pairs += length * (length + 1) / 2;
        }
        return pairs;
    }

    @Override
    public void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        long start = System.nanoTime();
        kernels.draw(logits, draws, ids);
        profile.add("draw", start, 0, logits, ids);
    }

    /** Of logits that are on the host, which are no operands. */
    @Override
    public int draw(float[] logits, Draw draw) {
        long start = System.nanoTime();
        int id = kernels.draw(logits, draw);
        profile.add("draw", start, 0);
        return id;
    }
}
