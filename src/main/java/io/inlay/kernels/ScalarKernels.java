package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The reference: one loop per formula, one thread, sums in double precision. Every other implementation is held to its results, and it
 * is held to PyTorch's autograd (tests/golden/kernels).
 */
public final class ScalarKernels implements Kernels {

    @Override
    public String name() {
        return "scalar";
    }

    @Override
    public void embed(Tensor table, Tensor ids, Tensor out) {
        Operands.embed(table, ids, out);
        for (int n = 0; n < out.dim(0); n++) {
            MemorySegment.copy(row(table, integer(ids, n)).memory(), 0, row(out, n).memory(), 0, out.size(1) * out.dtype().bytes());
        }
    }

    @Override
    public void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        Operands.embedBackward(gradOut, ids, gradTable);
        for (int n = 0; n < gradOut.dim(0); n++) {
            Floats g = row(gradOut, n);
            Floats sum = row(gradTable, integer(ids, n));
            for (int h = 0; h < gradOut.dim(1); h++) {
                sum.add(h, g.get(h));
            }
        }
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.rmsNorm(x, weight, out, rstd);
        for (int n = 0; n < x.dim(0); n++) {
            normalize(row(x, n), Floats.of(weight), x.dim(1), eps, row(out, n), rstd, n);
        }
    }

    @Override
    public void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.addRmsNorm(x, y, sum, weight, out, rstd);
        for (int n = 0; n < x.dim(0); n++) {
            Floats xs = row(x, n);
            Floats ys = row(y, n);
            Floats sums = row(sum, n);
            for (int h = 0; h < x.dim(1); h++) {
                sums.set(h, xs.get(h) + ys.get(h));
            }
            normalize(sums, Floats.of(weight), x.dim(1), eps, row(out, n), rstd, n);
        }
    }

    private static void normalize(Floats x, Floats weight, int width, float eps, Floats out, Tensor rstd, int n) {
        double squares = 0;
        for (int h = 0; h < width; h++) {
            squares += (double) x.get(h) * x.get(h);
        }
        float r = (float) (1 / Math.sqrt(squares / width + eps));
        for (int h = 0; h < width; h++) {
            out.set(h, x.get(h) * r * weight.get(h));
        }
        if (rstd != null) {
            Floats.of(rstd).set(n, r);
        }
    }

    @Override
    public void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        Operands.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
        int width = x.dim(1);
        double[] sums = new double[width];
        Floats w = Floats.of(weight);
        for (int n = 0; n < x.dim(0); n++) {
            Floats grad = row(gradOut, n);
            Floats xs = row(x, n);
            Floats result = row(gradX, n);
            float r = Floats.of(rstd).get(n);
            double dot = 0;
            for (int h = 0; h < width; h++) {
                dot += (double) grad.get(h) * w.get(h) * xs.get(h) * r;
            }
            float mean = (float) (dot / width);
            for (int h = 0; h < width; h++) {
                float xhat = xs.get(h) * r;
                sums[h] += (double) grad.get(h) * xhat;
                result.add(h, r * (grad.get(h) * w.get(h) - xhat * mean));
            }
        }
        for (int h = 0; gradWeight != null && h < width; h++) {
            Floats.of(gradWeight).add(h, (float) sums[h]);
        }
    }

    @Override
    public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        Operands.rope(x, table, positions);
        Floats xs = Floats.of(x);
        int half = x.dim(2) / 2;
        for (int n = 0; n < x.dim(0); n++) {
            Floats angles = row(table, integer(positions, n));
            for (int head = 0; head < x.dim(1); head++) {
                long at = n * x.stride(0) + head * x.stride(1);
                for (int d = 0; d < half; d++) {
                    float cos = angles.get(d);
                    float sin = inverse ? -angles.get(half + d) : angles.get(half + d);
                    float x1 = xs.get(at + d);
                    float x2 = xs.get(at + half + d);
                    xs.set(at + d, x1 * cos - x2 * sin);
                    xs.set(at + half + d, x2 * cos + x1 * sin);
                }
            }
        }
    }

    @Override
    public void swiGlu(Tensor gate, Tensor up, Tensor out) {
        Operands.swiGlu(gate, up, out);
        for (int n = 0; n < gate.dim(0); n++) {
            Floats gates = row(gate, n);
            Floats ups = row(up, n);
            Floats outs = row(out, n);
            for (int f = 0; f < gate.dim(1); f++) {
                float a = gates.get(f);
                outs.set(f, a * sigmoid(a) * ups.get(f));
            }
        }
    }

    @Override
    public void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        Operands.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
        for (int n = 0; n < gate.dim(0); n++) {
            Floats grads = row(gradOut, n);
            Floats gates = row(gate, n);
            Floats ups = row(up, n);
            Floats gradGates = row(gradGate, n);
            Floats gradUps = row(gradUp, n);
            for (int f = 0; f < gate.dim(1); f++) {
                float g = grads.get(f);
                float a = gates.get(f);
                float b = ups.get(f);
                float s = sigmoid(a);
                gradGates.set(f, g * b * s * (1 + a * (1 - s)));
                gradUps.set(f, g * a * s);
            }
        }
    }

    private static float sigmoid(float x) {
        return (float) (1 / (1 + Math.exp(-x)));
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        Operands.crossEntropy(logits, targets, losses);
        int vocabulary = logits.dim(1);
        for (int n = 0; n < logits.dim(0); n++) {
            Floats row = row(logits, n);
            int target = integer(targets, n);
            float top = Float.NEGATIVE_INFINITY;
            for (int v = 0; v < vocabulary; v++) {
                top = Math.max(top, row.get(v));
            }
            double sum = 0;
            for (int v = 0; v < vocabulary; v++) {
                sum += Math.exp(row.get(v) - top);
            }
            Floats.of(losses).set(n, (float) (Math.log(sum) + top - row.get(target)));
            for (int v = 0; gradient && v < vocabulary; v++) {
                float p = (float) (Math.exp(row.get(v) - top) / sum);
                row.set(v, scale * (v == target ? p - 1 : p));
            }
        }
    }

    @Override
    public void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step) {
        Operands.adamW(gradient, master, first, second, weight, step);
        AdamWConstants c = AdamWConstants.of(step);
        Floats g = Floats.of(gradient);
        Floats p = Floats.of(master);
        Floats m = Floats.of(first);
        Floats v = Floats.of(second);
        Floats w = Floats.of(weight);
        for (long i = 0; i < master.elements(); i++) {
            float slope = c.scale() * g.get(i);
            m.set(i, c.beta1() * m.get(i) + c.rest1() * slope);
            v.set(i, c.beta2() * v.get(i) + c.rest2() * slope * slope);
            float denominator = (float) Math.sqrt(v.get(i)) * c.rootScale() + c.epsilon();
            p.set(i, c.decay() * p.get(i) - c.stepSize() * m.get(i) / denominator);
            w.set(i, p.get(i));
        }
    }

    @Override
    public double sumOfSquares(Tensor x) {
        Operands.sumOfSquares(x);
        Floats xs = Floats.of(x);
        double sum = 0;
        for (long i = 0; i < x.elements(); i++) {
            double value = xs.get(offset(x, i));
            sum += value * value;
        }
        return sum;
    }

    @Override
    public void accumulate(Tensor accumulator, Tensor x) {
        Operands.accumulate(accumulator, x);
        Floats sums = Floats.of(accumulator);
        Floats xs = Floats.of(x);
        for (long i = 0; i < x.elements(); i++) {
            sums.add(i, xs.get(i));
        }
    }

    @Override
    public void add(Tensor x, Tensor y) {
        Operands.add(x, y);
        Floats xs = Floats.of(x);
        Floats ys = Floats.of(y);
        for (long i = 0; i < x.elements(); i++) {
            xs.add(offset(x, i), ys.get(offset(y, i)));
        }
    }

    @Override
    public void blockAbsoluteMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockAbsoluteMean", g, edge, scores);
        ScalarBlocks.addMeans(g, edge, scores, true);
    }

    @Override
    public void blockMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockMean", g, edge, scores);
        ScalarBlocks.addMeans(g, edge, scores, false);
    }

    @Override
    public void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        Operands.blockGradients(gradOut, x, blocks, edge, gradients);
        ScalarBlocks.gradients(gradOut, x, blocks, edge, gradients);
    }

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        Operands.linear(x, w, tiles, y);
        int inner = x.dim(1);
        int edge = tiles == null ? inner : tiles.edge();
        for (int o = 0; o < w.dim(0); o++) {
            for (int m = 0; m < x.dim(0); m++) {
                Floats xs = row(x, m);
                double sum = 0;
                for (int start = 0; start < inner; start += edge) {
                    Floats ws = weights(w, tiles, o, start);
                    for (int k = 0; k < edge; k++) {
                        sum += (double) xs.get(start + k) * ws.get(k);
                    }
                }
                row(y, m).set(o, (float) sum);
            }
        }
    }

    @Override
    public void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        ScalarInt8.linear(x, w, tiles, y);
    }

    @Override
    public void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        ScalarInt8.dequantise(w, tiles, out);
    }

    @Override
    public void assemble(Tensor w, TileTable tiles, Tensor out) {
        Operands.assemble(w, tiles, out);
        for (int o = 0; o < w.dim(0); o++) {
            for (int start = 0; start < w.dim(1); start += tiles.edge()) {
                int element = w.dtype().bytes();
                MemorySegment.copy(weights(w, tiles, o, start).memory(), 0, row(out, o).memory(), (long) start * element,
                        (long) tiles.edge() * element);
            }
        }
    }

    /** The weights of output {@code o} from input feature {@code start} on, from their block where the table has one. */
    private static Floats weights(Tensor w, TileTable tiles, int o, int start) {
        long pointer = tiles == null ? 0 : tiles.pointer(o / tiles.edge(), start / tiles.edge());
        if (pointer == 0) {
            Floats row = row(w, o);
            return new Floats(row.memory().asSlice((long) start * w.dtype().bytes()), row.bf16());
        }
        long rowBytes = (long) tiles.edge() * w.dtype().bytes();
        MemorySegment row = MemorySegment.ofAddress(pointer + o % tiles.edge() * rowBytes).reinterpret(rowBytes);
        return new Floats(row, w.dtype() == DType.BF16);
    }

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        Operands.decodeAttention(q, keys, values, length, out);
        int group = q.dim(0) / keys.dim(0);
        int width = q.dim(1);
        Floats cachedKeys = Floats.of(keys);
        Floats cachedValues = Floats.of(values);
        for (int h = 0; h < q.dim(0); h++) {
            Floats query = row(q, h);
            double[] weights = new double[length];
            double top = Double.NEGATIVE_INFINITY;
            for (int s = 0; s < length; s++) {
                long at = h / group * keys.stride(0) + s * keys.stride(1);
                for (int d = 0; d < width; d++) {
                    weights[s] += (double) query.get(d) * cachedKeys.get(at + d);
                }
                weights[s] *= scale;
                top = Math.max(top, weights[s]);
            }
            double sum = 0;
            for (int s = 0; s < length; s++) {
                weights[s] = Math.exp(weights[s] - top);
                sum += weights[s];
            }
            for (int d = 0; d < width; d++) {
                double mix = 0;
                for (int s = 0; s < length; s++) {
                    mix += weights[s] * cachedValues.get(h / group * values.stride(0) + s * values.stride(1) + d);
                }
                row(out, h).set(d, (float) (mix / sum));
            }
        }
    }

    // ---- addressing ----

    private static int integer(Tensor tensor, long index) {
        return tensor.segment().get(JAVA_INT_UNALIGNED, 4 * index);
    }

    private static Floats row(Tensor tensor, long row) {
        Floats all = Floats.of(tensor);
        return new Floats(all.memory().asSlice(row * tensor.stride(0) * tensor.dtype().bytes()), all.bf16());
    }

    /** Where the i-th element in row-major order lies. */
    private static long offset(Tensor tensor, long i) {
        long offset = 0;
        for (int d = tensor.rank() - 1; d >= 0; d--) {
            offset += i % tensor.size(d) * tensor.stride(d);
            i /= tensor.size(d);
        }
        return offset;
    }

    // ---- attention of whole sequences ----

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        Operands.causalAttention(q, k, v, starts, out, logSumExp);
        ScalarAttention.forEach(q, k, v, starts, scale, head -> head.forward(out, logSumExp));
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        Operands.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, gradQ, gradK, gradV);
        double[][][] group = new double[2][][];
        ScalarAttention.forEach(q, k, v, starts, scale, head -> {
            if (group[0] == null) {
                group[0] = new double[head.length()][k.dim(2)];
                group[1] = new double[head.length()][k.dim(2)];
            }
            head.backward(gradOut, out, logSumExp, gradQ, group[0], group[1]);
            if (head.endsGroup()) {
                head.writeGroup(group[0], gradK);
                head.writeGroup(group[1], gradV);
                group[0] = null;
            }
        });
    }
}
