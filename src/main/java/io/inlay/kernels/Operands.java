package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * What every implementation asks of its operands before it touches their memory; the one place where {@link Kernels}' shapes and types
 * are enforced. Each method is the check of the operation of its name.
 */
final class Operands {

    private final String operation;
    private final String names;
    private final Tensor[] tensors;
    private final Device device;

    private Operands(String operation, String names, Tensor... tensors) {
        this.operation = operation;
        this.names = names;
        this.tensors = tensors;
        this.device = deviceOf(tensors);
    }

    /** That of the first operand that is there. */
    private static Device deviceOf(Tensor... tensors) {
        for (Tensor tensor : tensors) {
            if (tensor != null) {
                return tensor.device();
            }
        }
        return Device.CPU;
    }

    // ---- the operations ----

    static void embed(Tensor table, Tensor ids, Tensor out) {
        new Operands("embed", "table ids out", table, ids, out)
                .floating(table, 2).floating(out, 2).written(out)
                .require(table.dtype() == out.dtype(), "table and out must have one type")
                .require(out.size(1) == table.size(1), "out must be as wide as table")
                .indices(ids, out.size(0), table.size(0), "ids");
    }

    static void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        new Operands("embedBackward", "gradOut ids gradTable", gradOut, ids, gradTable)
                .floating(gradOut, 2).single(gradTable, 2).written(gradTable)
                .require(gradOut.size(1) == gradTable.size(1), "gradOut must be as wide as gradTable")
                .indices(ids, gradOut.size(0), gradTable.size(0), "ids");
    }

    static void rmsNorm(Tensor x, Tensor weight, Tensor out, Tensor rstd) {
        new Operands("rmsNorm", "x weight out rstd", x, weight, out, rstd)
                .floating(x, 2).floating(weight, 1).alike(x, out).written(out)
                .require(weight.dtype() == x.dtype() && weight.size(0) == x.size(1), "weight must be [H] of x's type")
                .perRow(rstd, x, "rstd");
    }

    static void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, Tensor out, Tensor rstd) {
        new Operands("addRmsNorm", "x y sum weight out rstd", x, y, sum, weight, out, rstd)
                .floating(x, 2).floating(weight, 1).alike(x, y).alike(x, sum).alike(x, out).written(sum).written(out)
                .require(weight.dtype() == x.dtype() && weight.size(0) == x.size(1), "weight must be [H] of x's type")
                .perRow(rstd, x, "rstd");
    }

    static void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        Operands operands = new Operands("rmsNormBackward", "gradOut x weight rstd gradX gradWeight", gradOut, x, weight, rstd, gradX,
                gradWeight)
                .floating(x, 2).floating(weight, 1).alike(x, gradOut).alike(x, gradX).written(gradX)
                .require(weight.dtype() == x.dtype() && weight.size(0) == x.size(1), "weight must be [H] of x's type")
                .require(rstd != null, "rstd is what the forward pass returned")
                .perRow(rstd, x, "rstd");
        if (gradWeight != null) {
            operands.single(gradWeight, 1).written(gradWeight).require(gradWeight.size(0) == x.size(1), "gradWeight must be fp32 [H]");
        }
    }

    static void rope(Tensor x, Tensor table, Tensor positions) {
        new Operands("rope", "x table positions", x, table, positions)
                .floating(x, 3).written(x).single(table, 2)
                .require(x.size(2) % 2 == 0, "D must be even")
                .require(table.size(1) == x.size(2), "table must be [P, D]")
                .indices(positions, x.size(0), table.size(0), "positions");
    }

    static void swiGlu(Tensor gate, Tensor up, Tensor out) {
        new Operands("swiGlu", "gate up out", gate, up, out)
                .floating(gate, 2).alike(gate, up).alike(gate, out).written(out);
    }

    static void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        new Operands("swiGluBackward", "gradOut gate up gradGate gradUp", gradOut, gate, up, gradGate, gradUp)
                .floating(gate, 2).alike(gate, up).alike(gate, gradOut).alike(gate, gradGate).alike(gate, gradUp)
                .written(gradGate).written(gradUp);
    }

    static void crossEntropy(Tensor logits, Tensor targets, Tensor losses) {
        new Operands("crossEntropy", "logits targets losses", logits, targets, losses)
                .floating(logits, 2).written(logits)
                .require(losses != null, "losses is missing")
                .perRow(losses, logits, "losses")
                .indices(targets, logits.size(0), logits.size(1), "targets");
    }

    static void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, Kernels.AdamW step) {
        Operands operands = new Operands("adamW", "gradient master first second weight", gradient, master, first, second, weight)
                .floating(gradient).floating(weight).single(master).single(first).single(second);
        for (Tensor tensor : operands.tensors) {
            operands.require(tensor.contiguous() && tensor.elements() == master.elements(),
                    "all must be contiguous with equally many elements");
        }
        operands.require(step.step() >= 1, "steps count from 1, this one is " + step.step());
    }

    static void sumOfSquares(Tensor x) {
        new Operands("sumOfSquares", "x", x).floating(x);
    }

    static void accumulate(Tensor accumulator, Tensor x) {
        new Operands("accumulate", "accumulator x", accumulator, x)
                .single(accumulator).floating(x).sameSizes(accumulator, x)
                .require(accumulator.contiguous() && x.contiguous(), "both must be contiguous");
    }

    static void add(Tensor x, Tensor y) {
        new Operands("add", "x y", x, y).floating(x).floating(y).written(x).sameSizes(x, y);
    }

    static void blockScores(String operation, Tensor g, int edge, Tensor scores) {
        new Operands(operation, "g scores", g, scores)
                .floating(g, 2).single(scores, 2).written(scores)
                .require(edge > 0 && g.size(0) % edge == 0 && g.size(1) % edge == 0, "edge " + edge + " must divide both sides of g")
                .require(scores.size(0) == g.size(0) / edge && scores.size(1) == g.size(1) / edge, "scores must be [R/edge, C/edge]");
    }

    static void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        Operands operands = new Operands("blockGradients", "gradOut x gradients", gradOut, x, gradients)
                .floating(gradOut, 2).floating(x, 2).floating(gradients, 3)
                .require(gradOut.dtype() == x.dtype() && gradOut.size(0) == x.size(0), "gradOut [N, O], x [N, K] of one type")
                .require(gradients.dtype() == x.dtype() || gradients.dtype() == DType.FP32, "gradients must have x's type or fp32")
                .require(edge > 0 && gradOut.size(1) % edge == 0 && x.size(1) % edge == 0, "edge " + edge + " must divide O and K")
                .require(gradients.contiguous() && gradients.hasSizes(blocks.size(), edge, edge),
                        "gradients must be [" + blocks.size() + ", " + edge + ", " + edge + "], contiguous");
        for (BlockCoordinate at : blocks) {
            operands.require(at.row() < gradOut.size(1) / edge && at.column() < x.size(1) / edge, "block " + at + " lies outside");
        }
    }

    static void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        new Operands("draw", "logits ids", logits, ids).floating(logits, 2)
                .require(logits.size(1) >= 1 && logits.size(1) <= Draw.MOST_LOGITS, "a row must have 1 to " + Draw.MOST_LOGITS + " logits")
                .require(draws.size() == logits.size(0), "each row must have a draw or null, there are " + draws.size())
                .require(ids != null && ids.dtype() == DType.INT32 && ids.device().equals(logits.device()) && ids.contiguous()
                        && ids.hasSizes(logits.size(0)), "ids must be int32 [R]");
    }

    static void draw(float[] logits) {
        if (logits.length < 1 || logits.length > Draw.MOST_LOGITS) {
            throw new IllegalArgumentException("draw: a row must have 1 to " + Draw.MOST_LOGITS + " logits, not " + logits.length);
        }
    }

    static void product(Tensor out, Tensor a, Tensor b) {
        new Operands("product", "a b out", a, b, out)
                .floating(out, 2).written(out)
                .require(a.dtype() == out.dtype() && b.dtype() == out.dtype(), "a and b must have out's type")
                .require(a.rank() == 2 && b.rank() == 2 && a.size(0) == out.size(0) && a.size(1) == b.size(0) && b.size(1) == out.size(1),
                        "a [M, K], b [K, N], out [M, N]");
    }

    static void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        new Operands("linear", "x w y", x, w, y)
                .floating(x, 2).floating(w, 2).floating(y, 2).written(y)
                .require(w.dtype() == x.dtype(), "w must have x's type")
                .require(y.dtype() == x.dtype() || y.dtype() == DType.FP32, "y must have x's type or fp32")
                .require(w.size(1) == x.size(1) && y.size(0) == x.size(0) && y.size(1) == w.size(0), "x [M, K], w [O, K], y [M, O]")
                .tiling(w, w.dtype(), tiles);
    }

    static void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        linear(x, w, null, y);
        Operands operands = new Operands("linearMixed", "x w y", x, w, y)
                .require(tiles.size() == x.size(0), tiles.size() + " tile tables must be one for each row of x");
        for (int m = 0; m < tiles.size(); m++) {
            if (m == 0 || tiles.get(m) != tiles.get(m - 1)) {
                operands.tiling(w, w.dtype(), tiles.get(m));
            }
        }
    }

    static void linears(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {
        Operands given = new Operands("linears", "x", x).floating(x, 2);
        given.require(!weights.isEmpty() && tiles.size() == weights.size() && outs.size() == weights.size(), weights.size()
                + " weights, " + tiles.size() + " lists of tile tables and " + outs.size() + " results must be as many, one at least");
        for (int i = 0; i < weights.size(); i++) {
            linearMixed(x, weights.get(i), tiles.get(i), outs.get(i));
            given.apart(outs.get(i), x);
            for (int j = 0; j < i; j++) {
                given.apart(outs.get(i), outs.get(j));
            }
        }
    }

    static void gatedLinear(Tensor x, Tensor gate, Tensor up, Tensor scratch, Tensor out) {
        new Operands("gatedLinear", "x gate up scratch out", x, gate, up, scratch, out)
                .floating(x, 2).floating(gate, 2).alike(gate, up).floating(out, 2).written(out).written(scratch)
                .require(gate.dtype() == x.dtype() && out.dtype() == x.dtype(), "all must have x's type")
                .require(gate.size(1) == x.size(1) && out.size(0) == x.size(0) && out.size(1) == gate.size(0),
                        "x [M, K], gate and up [F, K], scratch and out [M, F]")
                .alike(out, scratch).apart(out, x).apart(scratch, x).apart(scratch, out);
    }

    static void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        Operands operands = new Operands("linearInt8", "x values scales y", x, w.values(), w.scales(), y)
                .floating(x, 2).floating(y, 2).written(y)
                .require(y.dtype() == x.dtype() || y.dtype() == DType.FP32, "y must have x's type or fp32")
                .require(w.values().size(1) == x.size(1) && y.size(0) == x.size(0) && y.size(1) == w.values().size(0),
                        "x [M, K], values [O, K], y [M, O]")
                .require(tiles == null || tiles.size() == x.size(0), "tile tables must be one for each row of x");
        for (int m = 0; tiles != null && m < tiles.size(); m++) {
            if (m == 0 || tiles.get(m) != tiles.get(m - 1)) {
                operands.tiling(w.values(), x.dtype(), tiles.get(m));
            }
        }
    }

    static void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        new Operands("dequantise", "values scales out", w.values(), w.scales(), out)
                .floating(out, 2).written(out)
                .require(out.size(0) == w.values().size(0) && out.size(1) == w.values().size(1), "values [O, K], out [O, K]")
                .tiling(w.values(), out.dtype(), tiles);
    }

    /** What becomes an {@link Int8Weight}. */
    static void quantised(Tensor w) {
        new Operands("int8", "w", w).floating(w, 2);
    }

    static void pagedAttention(Tensor q, List<KvPages> caches, Tensor out) {
        Operands operands = new Operands("pagedAttention", "q out", q, out).floating(q, 3).alike(q, out).written(out)
                .require(caches.size() == q.size(0), caches.size() + " caches must be one for each row of q");
        caches.forEach(each -> operands.cache(q, each));
    }

    static void pagedCausalAttention(Tensor q, KvPages cache, Tensor out) {
        new Operands("pagedCausalAttention", "q out", q, out).floating(q, 3).alike(q, out).written(out).cache(q, cache)
                .require(q.size(0) <= cache.length(), "the cache has " + cache.length() + " positions, fewer than q");
    }

    static void keep(Tensor keys, Tensor values, List<KvPages> caches) {
        Operands operands = new Operands("keep", "keys values", keys, values).rows(keys, values)
                .require(caches.size() == keys.size(0), caches.size() + " caches must be one for each row of keys");
        caches.forEach(each -> operands.pages(keys, each));
    }

    static void ropeAndKeep(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, List<KvPages> caches) {
        rope(query, table, positions);
        keep(key, value, caches);
        new Operands("ropeAndKeep", "query key", query, key).floating(key).require(key.dtype() == query.dtype()
                && key.size(0) == query.size(0) && key.size(2) == query.size(2), "query [N, Q, D], key and value [N, G, D] of one type");
    }

    static void keep(Tensor keys, Tensor values, KvPages cache) {
        new Operands("keep", "keys values", keys, values).rows(keys, values).pages(keys, cache)
                .require(keys.size(0) <= cache.length(), "the cache has " + cache.length() + " positions, fewer than keys");
    }

    static void assemble(Tensor w, TileTable tiles, Tensor out) {
        new Operands("assemble", "w out", w, out)
                .floating(w, 2).alike(w, out).written(out).require(tiles != null, "tiles is missing").tiling(w, w.dtype(), tiles);
    }

    static void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, Tensor out) {
        new Operands("decodeAttention", "q keys values out", q, keys, values, out)
                .floating(q, 2).alike(q, out).written(out).floating(keys, 3).alike(keys, values)
                .require(keys.dtype() == q.dtype(), "the cache must have q's type")
                .require(keys.size(2) == q.size(1), "q [Q, D], keys and values [G, S, D]")
                .require(keys.size(0) > 0 && q.size(0) % keys.size(0) == 0, "Q must be a multiple of G")
                .require(length >= 1 && length <= keys.size(1), "length " + length + " must be 1 to S");
    }

    static void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, Tensor out, Tensor logSumExp) {
        Operands operands = new Operands("causalAttention", "q k v starts out logSumExp", q, k, v, starts, out, logSumExp)
                .attention(q, k, v, starts).alike(q, out).written(out);
        if (logSumExp != null) {
            operands.sums(logSumExp, q).written(logSumExp);
        }
    }

    static void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            Tensor gradQ, Tensor gradK, Tensor gradV) {
        new Operands("causalAttentionBackward", "gradOut q k v out logSumExp starts gradQ gradK gradV", gradOut, q, k, v, out, logSumExp,
                starts, gradQ, gradK, gradV)
                .attention(q, k, v, starts).alike(q, out).alike(q, gradOut).alike(q, gradQ).alike(k, gradK).alike(k, gradV)
                .written(gradQ).written(gradK).written(gradV).sums(logSumExp, q);
    }

    // ---- the rules ----

    private Operands attention(Tensor q, Tensor k, Tensor v, Tensor starts) {
        floating(q, 3).floating(k, 3).alike(k, v);
        require(k.dtype() == q.dtype() && k.size(0) == q.size(0) && k.size(2) == q.size(2), "q [N, Q, D], k and v [N, G, D] of one type");
        require(k.size(1) > 0 && q.size(1) % k.size(1) == 0, "Q must be a multiple of G");
        indices(starts, starts == null ? 0 : starts.elements(), q.size(0) + 1, "starts");
        if (!device.isCpu()) {
            return this;
        }
        MemorySegment memory = starts.segment();
        long last = starts.size(0) - 1;
        require(last >= 0 && memory.get(JAVA_INT_UNALIGNED, 0) == 0 && memory.get(JAVA_INT_UNALIGNED, 4 * last) == q.size(0),
                "starts must go from 0 to N");
        for (long s = 0; s < last; s++) {
            require(memory.get(JAVA_INT_UNALIGNED, 4 * s) <= memory.get(JAVA_INT_UNALIGNED, 4 * (s + 1)), "starts must ascend");
        }
        return this;
    }

    private Operands sums(Tensor logSumExp, Tensor q) {
        return single(logSumExp, 2).require(logSumExp.contiguous() && logSumExp.size(0) == q.size(1) && logSumExp.size(1) == q.size(0),
                "logSumExp must be fp32 [Q, N], contiguous");
    }

    private Operands require(boolean holds, String rule) {
        if (holds) {
            return this;
        }
        StringBuilder message = new StringBuilder(operation).append(": ").append(rule).append("; given ");
        String[] name = names.split(" ");
        for (int i = 0; i < tensors.length; i++) {
            message.append(i == 0 ? "" : ", ").append(name[i]).append(' ').append(tensors[i]);
        }
        throw new IllegalArgumentException(message.toString());
    }

    private Operands floating(Tensor tensor) {
        require(tensor != null, "an operand is missing");
        require(tensor.device().equals(device), "operands must be on one device");
        require(tensor.dtype() == DType.BF16 || tensor.dtype() == DType.FP32, "elements must be bf16 or fp32");
        return require(tensor.rowsDense(), "the last dimension must be dense");
    }

    private Operands floating(Tensor tensor, int rank) {
        return floating(tensor).require(tensor.rank() == rank, "an operand must have " + rank + " dimensions");
    }

    private Operands single(Tensor tensor) {
        return floating(tensor).require(tensor.dtype() == DType.FP32, "an operand must be fp32");
    }

    private Operands single(Tensor tensor, int rank) {
        return floating(tensor, rank).require(tensor.dtype() == DType.FP32, "an operand must be fp32");
    }

    private Operands alike(Tensor tensor, Tensor other) {
        return floating(other, tensor.rank()).sameSizes(tensor, other).require(tensor.dtype() == other.dtype(), "types must be equal");
    }

    private Operands sameSizes(Tensor tensor, Tensor other) {
        require(tensor.rank() == other.rank(), "sizes must be equal");
        for (int i = 0; i < tensor.rank(); i++) {
            require(tensor.size(i) == other.size(i), "sizes must be equal");
        }
        return this;
    }

    /** fp32 [N] or null. */
    private Operands perRow(Tensor tensor, Tensor rows, String name) {
        return tensor == null ? this
                : single(tensor, 1).written(tensor).require(tensor.size(0) == rows.size(0), name + " must be fp32 [N]");
    }

    /** No two elements of what is written may share memory, or the result would depend on the order of writing. */
    private Operands written(Tensor tensor) {
        if (tensor.contiguous() || tensor.elements() == 0) {
            return this;
        }
        for (int i = 0; i < tensor.rank(); i++) {
            long inner = 1;
            for (int j = 0; j < tensor.rank(); j++) {
                boolean within = tensor.stride(j) < tensor.stride(i) || tensor.stride(j) == tensor.stride(i) && j > i;
                inner += within ? (tensor.size(j) - 1) * tensor.stride(j) : 0;
            }
            require(tensor.size(i) == 1 || tensor.stride(i) >= inner, "rows of a result must not overlap");
        }
        return this;
    }

    /** A result that is written while another operand is still read or written does not begin where that does. */
    private Operands apart(Tensor result, Tensor other) {
        return require(result.elements() == 0 || other.elements() == 0 || result.address() != other.address(),
                "a result must have memory of its own");
    }

    /** int32 [count], each in [0, bound); what is not on the CPU is not read. */
    private Operands indices(Tensor tensor, long count, long bound, String name) {
        require(tensor != null && tensor.dtype() == DType.INT32 && tensor.rank() == 1 && tensor.rowsDense() && tensor.size(0) == count,
                name + " must be int32 [" + count + "]");
        require(tensor.device().equals(device), "operands must be on one device");
        if (!device.isCpu()) {
            return this;
        }
        MemorySegment memory = tensor.segment();
        for (long n = 0; n < count; n++) {
            int index = memory.get(JAVA_INT_UNALIGNED, 4 * n);
            if (index < 0 || index >= bound) {
                require(false, name + "[" + n + "] is " + index + ", outside [0, " + bound + ")");
            }
        }
        return this;
    }

    private Operands cache(Tensor q, KvPages cache) {
        return require(cache.type() == q.dtype() && cache.dim() == q.size(2), "the cache must have q's type and D, it has " + cache.type()
                + " and " + cache.dim()).require(cache.groups() > 0 && q.size(1) % cache.groups() == 0, "Q must be a multiple of G");
    }

    private Operands rows(Tensor keys, Tensor values) {
        return floating(keys, 3).alike(keys, values).require(keys.contiguous() && values.contiguous(),
                "keys and values must be contiguous");
    }

    private Operands pages(Tensor keys, KvPages cache) {
        return require(cache.type() == keys.dtype() && cache.dim() == keys.size(2) && cache.groups() == keys.size(1),
                "the cache must have the type, G and D of keys, it has " + cache.type() + ", " + cache.groups() + " and " + cache.dim());
    }

    private Operands tiling(Tensor w, DType type, TileTable tiles) {
        if (tiles == null) {
            return this;
        }
        require(tiles.rows() == w.size(0) && tiles.columns() == w.size(1), "the tile table is for a weight of " + tiles.rows() + " x "
                + tiles.columns());
        return require(tiles.elementBytes() == type.bytes(), "the tile table's elements have " + tiles.elementBytes() + " bytes");
    }
}
