package io.inlay.kernels;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.Tensor;
import java.util.List;

/**
 * The kernels of kernels/*.cu: operands are checked here, geometry and arguments are made by one class for each kind of kernel, and a
 * {@link CudaLauncher} runs them. Results are ready for what is launched later; {@link #sumOfSquares} alone waits.
 *
 * <p>Ids, positions and targets that lie on a GPU are not read before the launch: where one is out of range its row becomes NaN.
 */
public final class CudaKernels implements Kernels {

    private final String name;
    private final GraphedLauncher launcher;
    private final CudaRows rows;
    private final CudaSums sums;
    private final CudaLinears linears;
    private final CudaBlockGradients blocks;
    private final CudaAttention attention;
    private final CudaSampling sampling;
    private final CudaPages pages;
    /** For logits that are on the host. */
    private final Kernels host = CpuKernels.best();

    public CudaKernels(CudaLauncher device) {
        this.launcher = new GraphedLauncher(device);
        CudaTables tables = new CudaTables(launcher);
        this.name = "cuda on " + launcher.name();
        this.rows = new CudaRows(launcher, tables);
        this.sums = new CudaSums(launcher);
        this.linears = new CudaLinears(launcher, tables);
        this.blocks = new CudaBlockGradients(launcher);
        this.pages = new CudaPages(launcher);
        this.attention = new CudaAttention(launcher, pages);
        this.sampling = new CudaSampling(launcher);
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public int rowsOfAStep() {
        return CudaLinears.MOST_ROWS;
    }

    /** As graphs, where the same launches come again. */
    @Override
    public void together(Runnable work) {
        launcher.together(work);
    }

    @Override
    public void embed(Tensor table, Tensor ids, Tensor out) {
        Operands.embed(table, ids, out);
        rows.embed(table, ids, out);
    }

    @Override
    public void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        Operands.embedBackward(gradOut, ids, gradTable);
        rows.embedBackward(gradOut, ids, gradTable);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.rmsNorm(x, weight, out, rstd);
        rows.rmsNorm(x, weight, eps, out, rstd);
    }

    @Override
    public void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.addRmsNorm(x, y, sum, weight, out, rstd);
        rows.addRmsNorm(x, y, sum, weight, eps, out, rstd);
    }

    @Override
    public void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        Operands.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
        rows.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
    }

    @Override
    public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        Operands.rope(x, table, positions);
        rows.rope(x, table, positions, inverse);
    }

    @Override
    public void swiGlu(Tensor gate, Tensor up, Tensor out) {
        Operands.swiGlu(gate, up, out);
        rows.swiGlu(gate, up, out);
    }

    @Override
    public void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        Operands.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
        rows.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        Operands.crossEntropy(logits, targets, losses);
        rows.crossEntropy(logits, targets, scale, gradient, losses);
    }

    @Override
    public void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step) {
        Operands.adamW(gradient, master, first, second, weight, step);
        sums.adamW(gradient, master, first, second, weight, AdamWConstants.of(step));
    }

    @Override
    public double sumOfSquares(Tensor x) {
        Operands.sumOfSquares(x);
        return sums.sumOfSquares(x);
    }

    @Override
    public void accumulate(Tensor accumulator, Tensor x) {
        Operands.accumulate(accumulator, x);
        sums.add(accumulator, x);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        Operands.add(x, y);
        sums.add(x, y);
    }

    @Override
    public void blockAbsoluteMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockAbsoluteMean", g, edge, scores);
        sums.addBlockMeans(g, edge, scores, true);
    }

    @Override
    public void blockMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockMean", g, edge, scores);
        sums.addBlockMeans(g, edge, scores, false);
    }

    @Override
    public void assemble(Tensor w, TileTable tiles, Tensor out) {
        Operands.assemble(w, tiles, out);
        rows.assemble(w, tiles, out);
    }

    @Override
    public void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        Operands.blockGradients(gradOut, x, blocks, edge, gradients);
        this.blocks.blockGradients(gradOut, x, blocks, edge, gradients);
    }

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        Operands.linear(x, w, tiles, y);
        linears.linear(x, w, tiles, y);
    }

    @Override
    public void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        Operands.linearMixed(x, w, tiles, y);
        linears.linearMixed(x, w, tiles, y);
    }

    @Override
    public void linears(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {
        Operands.linears(x, weights, tiles, outs);
        linears.linears(x, weights, tiles, outs);
    }

    @Override
    public void gatedLinear(Tensor x, Tensor gate, Tensor up, Tensor scratch, Tensor out) {
        if (CudaLinears.suitsGated(x, gate, up)) {
            Operands.gatedLinear(x, gate, up, scratch, out);
            linears.gatedLinear(x, gate, up, out);
        } else {
            Kernels.super.gatedLinear(x, gate, up, scratch, out);
        }
    }

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        Operands.decodeAttention(q, keys, values, length, out);
        attention.decodeAttention(q, keys, values, length, scale, out);
    }

    @Override
    public void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        throw withoutInt8();
    }

    @Override
    public void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        throw withoutInt8();
    }

    private static Problem withoutInt8() {
        return new Problem(Problem.Code.UNAVAILABLE, "int8 linears have no CUDA kernel; serve the model in bf16, or on the CPU");
    }

    @Override
    public void keep(Tensor keys, Tensor values, List<KvPages> caches) {
        Operands.keep(keys, values, caches);
        rows.keep(keys, values, caches);
    }

    @Override
    public void keep(Tensor keys, Tensor values, KvPages cache) {
        Operands.keep(keys, values, cache);
        rows.keep(keys, values, cache);
    }

    @Override
    public void ropeAndKeep(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, List<KvPages> caches) {
        Operands.ropeAndKeep(query, key, value, table, positions, caches);
        if (!caches.isEmpty()) {
            pages.with("ropeAndKeep", caches, lists -> rows.ropeAndKeep(query, key, value, table, positions, caches.getFirst(), lists));
        }
    }

    @Override
    public void pagedAttention(Tensor q, List<KvPages> caches, float scale, Tensor out) {
        Operands.pagedAttention(q, caches, out);
        attention.pagedAttention(q, caches, scale, out);
    }

    @Override
    public void pagedCausalAttention(Tensor q, KvPages cache, float scale, Tensor out) {
        Operands.pagedCausalAttention(q, cache, out);
        attention.pagedCausalAttention(q, cache, scale, out);
    }

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        Operands.causalAttention(q, k, v, starts, out, logSumExp);
        attention.causalAttention(q, k, v, starts, scale, out, logSumExp);
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        Operands.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, gradQ, gradK, gradV);
        attention.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, scale, gradQ, gradK, gradV);
    }

    @Override
    public void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        Operands.draw(logits, draws, ids);
        sampling.draw(logits, draws, ids);
    }

    @Override
    public int draw(float[] logits, Draw draw) {
        Operands.draw(logits);
        return host.draw(logits, draw);
    }
}
