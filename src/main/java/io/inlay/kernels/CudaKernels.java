package io.inlay.kernels;

import io.inlay.tensor.Tensor;

/**
 * The kernels of kernels/*.cu: operands are checked here, geometry and arguments are made by one class for each kind of kernel, and a
 * {@link CudaLauncher} runs them. Results are ready for what is launched later; {@link #sumOfSquares} alone waits.
 *
 * <p>Ids, positions and targets that lie on a GPU are not read before the launch: where one is out of range its row becomes NaN.
 */
public abstract class CudaKernels implements Kernels {

    private final String name;
    private final CudaRows rows;
    private final CudaSums sums;

    CudaKernels(CudaLauncher launcher) {
        this.name = "cuda on " + launcher.name();
        this.rows = new CudaRows(launcher, new CudaTables(launcher));
        this.sums = new CudaSums(launcher);
    }

    @Override
    public String name() {
        return name;
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
}
