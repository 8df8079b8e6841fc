package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * The kernels by the Vector API, in pure Java: there where no native library is. Rows are widened into float arrays, worked on, and
 * narrowed again (see {@link Lanes}); loops without a vector in sight are ones that the compiler vectorizes itself.
 */
public final class VectorKernels implements Kernels {

    private static final int PIECE = 4096;

    private final Cores cores;
    private final VectorDraws draws;

    /** @param threads cores that one call may use, at most those of the JVM's common pool and the caller's */
    public VectorKernels(int threads) {
        this.cores = new Cores(threads);
        this.draws = new VectorDraws(cores);
    }

    @Override
    public String name() {
        return "vector";
    }

    // ---- embedding ----

    @Override
    public void embed(Tensor table, Tensor ids, Tensor out) {
        Operands.embed(table, ids, out);
        int bytes = out.dtype().bytes();
        long row = out.size(1) * bytes;
        cores.forEach(out.dim(0), out.elements(), (begin, end) -> {
            for (int n = begin; n < end; n++) {
                MemorySegment.copy(table.segment(), integer(ids, n) * table.stride(0) * bytes, out.segment(), n * out.stride(0) * bytes,
                        row);
            }
        });
    }

    @Override
    public void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        Operands.embedBackward(gradOut, ids, gradTable);
        int width = gradOut.dim(1);
        float[] grad = new float[width];
        float[] sum = new float[width];
        for (int n = 0; n < gradOut.dim(0); n++) {
            Lanes.load(gradOut, n * gradOut.stride(0), grad, width);
            long at = integer(ids, n) * gradTable.stride(0);
            Lanes.load(gradTable, at, sum, width);
            Lanes.addScaled(sum, 1, grad, width);
            Lanes.store(sum, gradTable, at, width);
        }
    }

    // ---- drawing ----

    @Override
    public void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        Operands.draw(logits, draws, ids);
        this.draws.draw(logits, draws, ids);
    }

    @Override
    public int draw(float[] logits, Draw draw) {
        Operands.draw(logits);
        return draws.draw(logits, draw);
    }

    // ---- norms ----

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.rmsNorm(x, weight, out, rstd);
        normalize(x, null, null, weight, eps, out, rstd);
    }

    @Override
    public void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.addRmsNorm(x, y, sum, weight, out, rstd);
        normalize(x, y, sum, weight, eps, out, rstd);
    }

    private void normalize(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        int width = x.dim(1);
        cores.forEach(x.dim(0), x.elements(), (begin, end) -> {
            float[] scales = loaded(weight, width);
            float[] row = new float[width];
            float[] other = new float[width];
            for (int n = begin; n < end; n++) {
                Lanes.load(x, n * x.stride(0), row, width);
                if (y != null) {
                    Lanes.load(y, n * y.stride(0), other, width);
                    Lanes.addScaled(row, 1, other, width);
                    Lanes.round(row, sum, width);
                    Lanes.store(row, sum, n * sum.stride(0), width);
                }
                float r = (float) (1 / Math.sqrt(Lanes.dot(row, 0, row, width) / width + eps));
                for (int h = 0; h < width; h++) {
                    row[h] = row[h] * r * scales[h];
                }
                Lanes.store(row, out, n * out.stride(0), width);
                if (rstd != null) {
                    Floats.of(rstd).set(n, r);
                }
            }
        });
    }

    @Override
    public void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        Operands.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
        int width = x.dim(1);
        int rows = x.dim(0);
        // A chunk is a fixed range of rows whoever computes it, so that gradWeight is summed in one order.
        int chunks = Math.min(rows, 64);
        float[][] partial = new float[chunks][];
        cores.forEach(chunks, x.elements(), (begin, end) -> {
            float[] scales = loaded(weight, width);
            float[] grad = new float[width];
            float[] scaled = new float[width];
            float[] row = new float[width];
            float[] result = new float[width];
            for (int chunk = begin; chunk < end; chunk++) {
                partial[chunk] = new float[gradWeight == null ? 0 : width];
                for (int n = (int) ((long) rows * chunk / chunks); n < (int) ((long) rows * (chunk + 1) / chunks); n++) {
                    Lanes.load(gradOut, n * gradOut.stride(0), grad, width);
                    Lanes.load(x, n * x.stride(0), row, width);
                    Lanes.load(gradX, n * gradX.stride(0), result, width);
                    float r = Floats.of(rstd).get(n);
                    for (int h = 0; h < width; h++) {
                        row[h] *= r;
                        scaled[h] = grad[h] * scales[h];
                    }
                    float mean = Lanes.dot(scaled, 0, row, width) / width;
                    for (int h = 0; h < width; h++) {
                        result[h] += r * (scaled[h] - row[h] * mean);
                    }
                    Lanes.store(result, gradX, n * gradX.stride(0), width);
                    for (int h = 0; h < partial[chunk].length; h++) {
                        partial[chunk][h] += grad[h] * row[h];
                    }
                }
            }
        });
        if (gradWeight != null) {
            float[] sum = loaded(gradWeight, width);
            for (float[] part : partial) {
                Lanes.addScaled(sum, 1, part, width);
            }
            Lanes.store(sum, gradWeight, 0, width);
        }
    }

    // ---- rotary embedding, feed-forward ----

    @Override
    public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        Operands.rope(x, table, positions);
        int d = x.dim(2);
        int half = d / 2;
        float sign = inverse ? -1 : 1;
        cores.forEach(x.dim(0), x.elements(), (begin, end) -> {
            float[] angles = new float[d];
            float[] head = new float[d];
            for (int n = begin; n < end; n++) {
                Lanes.load(table, integer(positions, n) * table.stride(0), angles, d);
                for (int h = 0; h < x.dim(1); h++) {
                    long at = n * x.stride(0) + h * x.stride(1);
                    Lanes.load(x, at, head, d);
                    for (int i = 0; i < half; i++) {
                        float x1 = head[i];
                        float x2 = head[half + i];
                        float sin = sign * angles[half + i];
                        head[i] = x1 * angles[i] - x2 * sin;
                        head[half + i] = x2 * angles[i] + x1 * sin;
                    }
                    Lanes.store(head, x, at, d);
                }
            }
        });
    }

    @Override
    public void swiGlu(Tensor gate, Tensor up, Tensor out) {
        Operands.swiGlu(gate, up, out);
        int width = gate.dim(1);
        cores.forEach(gate.dim(0), gate.elements() * 4, (begin, end) -> {
            float[] a = new float[width];
            float[] b = new float[width];
            float[] e = new float[width];
            for (int n = begin; n < end; n++) {
                Lanes.load(gate, n * gate.stride(0), a, width);
                Lanes.load(up, n * up.stride(0), b, width);
                Lanes.exp(a, 0, 0, -1, e, width);
                for (int f = 0; f < width; f++) {
                    a[f] = a[f] * (1 / (1 + e[f])) * b[f];
                }
                Lanes.store(a, out, n * out.stride(0), width);
            }
        });
    }

    @Override
    public void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        Operands.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
        int width = gate.dim(1);
        cores.forEach(gate.dim(0), gate.elements() * 4, (begin, end) -> {
            float[] g = new float[width];
            float[] a = new float[width];
            float[] b = new float[width];
            float[] e = new float[width];
            for (int n = begin; n < end; n++) {
                Lanes.load(gradOut, n * gradOut.stride(0), g, width);
                Lanes.load(gate, n * gate.stride(0), a, width);
                Lanes.load(up, n * up.stride(0), b, width);
                Lanes.exp(a, 0, 0, -1, e, width);
                for (int f = 0; f < width; f++) {
                    float s = 1 / (1 + e[f]);
                    float x = a[f];
                    a[f] = g[f] * b[f] * s * (1 + x * (1 - s));
                    b[f] = g[f] * x * s;
                }
                Lanes.store(a, gradGate, n * gradGate.stride(0), width);
                Lanes.store(b, gradUp, n * gradUp.stride(0), width);
            }
        });
    }

    // ---- loss ----

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        Operands.crossEntropy(logits, targets, losses);
        int vocabulary = logits.dim(1);
        cores.forEach(logits.dim(0), logits.elements() * 4, (begin, end) -> {
            float[] row = new float[vocabulary];
            for (int n = begin; n < end; n++) {
                Lanes.load(logits, n * logits.stride(0), row, vocabulary);
                int target = integer(targets, n);
                float hit = row[target];
                float top = Lanes.max(row, 0, vocabulary);
                Lanes.exp(row, 0, top, 1, row, vocabulary);
                double sum = sum(row, vocabulary);
                Floats.of(losses).set(n, (float) (Math.log(sum) + top - hit));
                if (gradient) {
                    float share = scale / (float) sum;
                    float p = row[target] / (float) sum;
                    for (int v = 0; v < vocabulary; v++) {
                        row[v] *= share;
                    }
                    row[target] = scale * (p - 1);
                    Lanes.store(row, logits, n * logits.stride(0), vocabulary);
                }
            }
        });
    }

    private static double sum(float[] values, int count) {
        double a = 0;
        double b = 0;
        double c = 0;
        double d = 0;
        int i = 0;
        for (; i <= count - 4; i += 4) {
            a += values[i];
            b += values[i + 1];
            c += values[i + 2];
            d += values[i + 3];
        }
        for (; i < count; i++) {
            a += values[i];
        }
        return a + b + (c + d);
    }

    // ---- optimizer ----

    @Override
    public void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step) {
        Operands.adamW(gradient, master, first, second, weight, step);
        AdamWConstants c = AdamWConstants.of(step);
        cores.forEach(pieces(master.elements()), master.elements() * 4, (begin, end) -> {
            float[] g = new float[PIECE];
            float[] p = new float[PIECE];
            float[] m = new float[PIECE];
            float[] v = new float[PIECE];
            for (int piece = begin; piece < end; piece++) {
                long at = (long) piece * PIECE;
                int count = (int) Math.min(PIECE, master.elements() - at);
                Lanes.load(gradient, at, g, count);
                Lanes.load(master, at, p, count);
                Lanes.load(first, at, m, count);
                Lanes.load(second, at, v, count);
                for (int i = 0; i < count; i++) {
                    float slope = c.scale() * g[i];
                    m[i] = c.beta1() * m[i] + c.rest1() * slope;
                    v[i] = c.beta2() * v[i] + c.rest2() * slope * slope;
                    p[i] = c.decay() * p[i] - c.stepSize() * m[i] / ((float) Math.sqrt(v[i]) * c.rootScale() + c.epsilon());
                }
                Lanes.store(m, first, at, count);
                Lanes.store(v, second, at, count);
                Lanes.store(p, master, at, count);
                Lanes.store(p, weight, at, count);
            }
        });
    }

    // ---- sums ----

    @Override
    public double sumOfSquares(Tensor x) {
        Operands.sumOfSquares(x);
        double sum = 0;
        for (Plane plane : Plane.of(x)) {
            int pieces = pieces(plane.columns());
            double[] partial = new double[Math.toIntExact(plane.rows() * pieces)];
            cores.forEach(partial.length, plane.rows() * plane.columns(), (begin, end) -> {
                float[] values = new float[PIECE];
                for (int item = begin; item < end; item++) {
                    long column = (long) (item % pieces) * PIECE;
                    int count = (int) Math.min(PIECE, plane.columns() - column);
                    Lanes.load(x, plane.offsets()[0] + item / pieces * plane.strides()[0] + column, values, count);
                    partial[item] = squares(values, count);
                }
            });
            for (double part : partial) {
                sum += part;
            }
        }
        return sum;
    }

    private static double squares(float[] values, int count) {
        double a = 0;
        double b = 0;
        double c = 0;
        double d = 0;
        int i = 0;
        for (; i <= count - 4; i += 4) {
            a += (double) values[i] * values[i];
            b += (double) values[i + 1] * values[i + 1];
            c += (double) values[i + 2] * values[i + 2];
            d += (double) values[i + 3] * values[i + 3];
        }
        for (; i < count; i++) {
            a += (double) values[i] * values[i];
        }
        return a + b + (c + d);
    }

    @Override
    public void accumulate(Tensor accumulator, Tensor x) {
        Operands.accumulate(accumulator, x);
        addPlanes(accumulator, x);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        Operands.add(x, y);
        addPlanes(x, y);
    }

    private void addPlanes(Tensor x, Tensor y) {
        for (Plane plane : Plane.of(x, y)) {
            int pieces = pieces(plane.columns());
            cores.forEach(Math.toIntExact(plane.rows() * pieces), plane.rows() * plane.columns(), (begin, end) -> {
                float[] values = new float[PIECE];
                float[] others = new float[PIECE];
                for (int item = begin; item < end; item++) {
                    long column = (long) (item % pieces) * PIECE;
                    int count = (int) Math.min(PIECE, plane.columns() - column);
                    long at = plane.offsets()[0] + item / pieces * plane.strides()[0] + column;
                    Lanes.load(x, at, values, count);
                    Lanes.load(y, plane.offsets()[1] + item / pieces * plane.strides()[1] + column, others, count);
                    Lanes.addScaled(values, 1, others, count);
                    Lanes.store(values, x, at, count);
                }
            });
        }
    }

    private static int pieces(long elements) {
        return Math.toIntExact((elements + PIECE - 1) / PIECE);
    }

    @Override
    public void blockAbsoluteMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockAbsoluteMean", g, edge, scores);
        addBlockMeans(g, edge, scores, true);
    }

    @Override
    public void blockMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockMean", g, edge, scores);
        addBlockMeans(g, edge, scores, false);
    }

    private void addBlockMeans(Tensor g, int edge, Tensor scores, boolean absolute) {
        int across = scores.dim(1);
        Floats results = Floats.of(scores);
        cores.forEach(scores.dim(0) * across, g.elements(), (begin, end) -> {
            float[] row = new float[edge];
            for (int block = begin; block < end; block++) {
                double sum = 0;
                for (int r = 0; r < edge; r++) {
                    Lanes.load(g, ((long) block / across * edge + r) * g.stride(0) + (long) block % across * edge, row, edge);
                    for (int c = 0; absolute && c < edge; c++) {
                        row[c] = Math.abs(row[c]);
                    }
                    sum += sum(row, edge);
                }
                results.add(block / across * scores.stride(0) + block % across, (float) (sum / ((double) edge * edge)));
            }
        });
    }

    // ---- linears through tile tables ----

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        Operands.linear(x, w, tiles, y);
        VectorLinear linear = new VectorLinear(x, w, tiles, y);
        cores.forEach(w.dim(0), w.elements(), linear::run);
    }

    @Override
    public void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        Operands.linearInt8(x, w, tiles, y);
        VectorInt8 linear = new VectorInt8(x, w, tiles, y);
        cores.forEach(y.dim(1), w.values().elements(), linear::run);
    }

    @Override
    public void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        Operands.dequantise(w, tiles, out);
        cores.forEach(out.dim(0), out.elements(), (begin, end) -> VectorInt8.dequantise(w, tiles, out, begin, end));
    }

    @Override
    public void assemble(Tensor w, TileTable tiles, Tensor out) {
        Operands.assemble(w, tiles, out);
        int bytes = w.dtype().bytes();
        int edge = tiles.edge();
        long segment = (long) edge * bytes;
        cores.forEach(w.dim(0), w.elements(), (begin, end) -> {
            for (int o = begin; o < end; o++) {
                for (int start = 0; start < w.dim(1); start += edge) {
                    long pointer = tiles.pointer(o / edge, start / edge);
                    MemorySegment source = pointer == 0 ? w.segment().asSlice((o * w.stride(0) + start) * bytes, segment)
                            : MemorySegment.ofAddress(pointer + o % edge * segment).reinterpret(segment);
                    MemorySegment.copy(source, 0, out.segment(), (o * out.stride(0) + start) * bytes, segment);
                }
            }
        });
    }

    // ---- attention ----

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        Operands.decodeAttention(q, keys, values, length, out);
        int members = q.dim(0) / keys.dim(0);
        int d = q.dim(1);
        cores.forEach(keys.dim(0), 2L * q.dim(0) * length * d, (begin, end) -> {
            float[][] queries = new float[members][d];
            float[][] weights = new float[members][length];
            float[][] mixed = new float[members][d];
            double[] sums = new double[members];
            float[] row = new float[d];
            for (int g = begin; g < end; g++) {
                for (int h = 0; h < members; h++) {
                    Lanes.load(q, ((long) g * members + h) * q.stride(0), queries[h], d);
                    Arrays.fill(mixed[h], 0);
                }
                for (int s = 0; s < length; s++) {
                    Lanes.load(keys, g * keys.stride(0) + s * keys.stride(1), row, d);
                    for (int h = 0; h < members; h++) {
                        weights[h][s] = Lanes.dot(queries[h], 0, row, d) * scale;
                    }
                }
                for (int h = 0; h < members; h++) {
                    Lanes.exp(weights[h], 0, Lanes.max(weights[h], 0, length), 1, weights[h], length);
                    sums[h] = sum(weights[h], length);
                }
                for (int s = 0; s < length; s++) {
                    Lanes.load(values, g * values.stride(0) + s * values.stride(1), row, d);
                    for (int h = 0; h < members; h++) {
                        Lanes.addScaled(mixed[h], weights[h][s], row, d);
                    }
                }
                for (int h = 0; h < members; h++) {
                    for (int i = 0; i < d; i++) {
                        mixed[h][i] /= (float) sums[h];
                    }
                    Lanes.store(mixed[h], out, ((long) g * members + h) * out.stride(0), d);
                }
            }
        });
    }

    // ---- operands ----

    private static int integer(Tensor tensor, long index) {
        return tensor.segment().get(JAVA_INT_UNALIGNED, 4 * index);
    }

    private static float[] loaded(Tensor tensor, int count) {
        float[] values = new float[count];
        Lanes.load(tensor, 0, values, count);
        return values;
    }

    // ---- attention of whole sequences ----

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        Operands.causalAttention(q, k, v, starts, out, logSumExp);
        VectorAttention attention = new VectorAttention(q, k, v, starts, scale);
        cores.forEach(attention.items(), attention.work(), (begin, end) -> {
            for (int item = begin; item < end; item++) {
                attention.forward(item, out, logSumExp);
            }
        });
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        Operands.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, gradQ, gradK, gradV);
        VectorAttention attention = new VectorAttention(q, k, v, starts, scale);
        VectorAttention.Gradients gradients = new VectorAttention.Gradients(gradQ, gradK, gradV);
        cores.forEach(attention.items(), attention.work(), (begin, end) -> {
            for (int item = begin; item < end; item++) {
                attention.backward(item, gradOut, out, logSumExp, gradients);
            }
        });
    }
}
