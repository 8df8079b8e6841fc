package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * The fused operations. All implementations give the results of {@link ScalarKernels} within the contract test's bounds, accept any
 * strides whose last dimension is dense ("rows dense"), accept bf16 and fp32 unless said otherwise, compute in fp32, round once to the
 * output's type (nearest even), and refuse operands that do not fit with an {@link IllegalArgumentException} that names them.
 *
 * <p>Legend: N tokens (rows), H hidden size, F feed-forward size, V vocabulary, D head dimension, Q query heads, G key/value heads
 * (Q is a multiple of G), M rows of a step of decoding, K input features, O output features, S cached positions.
 *
 * <p>Thread-safe: any number of threads may call; each call may use several cores.
 */
public interface Kernels {

    /** Rows of x that {@link #linear} takes at a time where there are many: their packed form stays in a core's second-level cache. */
    int MANY_ROWS = 64;

    /** For logs and benchmarks: {@code scalar}, {@code vector}, {@code native avx512bf16}. */
    String name();

    /** Rows that a step of decoding puts through {@link #linear} at a time; a device that reads a weight once for more of them has more. */
    default int rowsOfAStep() {
        return DeviceKernels.rowsOfAStep(Device.CPU);
    }

    /**
     * Runs work that calls these kernels and nothing else that reads or writes the tensors it gives them: on a device all of it may be
     * started only when the work ends. What such work has left undone when it throws is not done.
     */
    default void together(Runnable work) {
        work.run();
    }

    // ---- embedding ----

    /** {@code out[n] = table[ids[n]]}: table [V, H], ids int32 [N], out [N, H]. */
    void embed(Tensor table, Tensor ids, Tensor out);

    /** {@code gradTable[ids[n]] += gradOut[n]}, in the order of n: gradOut [N, H], ids int32 [N], gradTable fp32 [V, H]. */
    void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable);

    // ---- RMS norm (Zhang and Sennrich 2019) ----

    /** {@code rstd = 1 / sqrt(mean(x^2) + eps); out = x rstd weight}: x, out [N, H], weight [H], rstd fp32 [N] or null. */
    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd);

    /** {@code sum = x + y} (rounded to its type, as the model's residual stream is), then {@link #rmsNorm} of sum; sum may be x. */
    void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd);

    /**
     * {@code gradX += rstd (g - xhat mean(g xhat))} with {@code g = gradOut weight, xhat = x rstd}; {@code gradWeight += sum_n gradOut
     * xhat}: gradOut, x, gradX [N, H], weight [H], rstd fp32 [N], gradWeight fp32 [H] or null.
     */
    void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight);

    // ---- rotary embedding (Su et al. 2021), Hugging Face's half-split layout ----

    /**
     * Rotates in place: {@code x1' = x1 cos - x2 sin; x2' = x2 cos + x1 sin} with x1, x2 the halves of D; the inverse (which is also the
     * backward) negates sin. x [N, heads, D] with any strides of the first two dimensions, table fp32 [P, D] (D/2 cosines, then D/2
     * sines, a row per position), positions int32 [N].
     */
    void rope(Tensor x, Tensor table, Tensor positions, boolean inverse);

    // ---- feed-forward ----

    /** {@code out = silu(gate) up}: all [N, F]; out may be gate or up. */
    void swiGlu(Tensor gate, Tensor up, Tensor out);

    /** Gradients of {@link #swiGlu}: all [N, F]; gradGate may be gate, gradUp may be up. */
    void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp);

    // ---- loss ----

    /**
     * {@code losses[n] = logsumexp(logits[n]) - logits[n, target]}; when {@code gradient}, logits become
     * {@code scale (softmax(logits) - onehot(target))} in place, else they stay. logits [N, V], targets int32 [N], losses fp32 [N].
     */
    void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses);

    // ---- optimizer ----

    /**
     * AdamW (Loshchilov and Hutter 2019) on fp32 masters, rounding the new value into {@code weight} in the same pass. All tensors
     * contiguous with equally many elements: gradient bf16 or fp32, master, first and second moments fp32, weight bf16 or fp32.
     */
    void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step);

    /** One step's constants; {@code gradientScale} multiplies every gradient first (clipping, averaging). {@code step} counts from 1. */
    record AdamW(double learningRate, double beta1, double beta2, double epsilon, double weightDecay, long step, double gradientScale) {
    }

    /** The sum of squares in double precision, NaN or infinite when an element is. Deterministic for a given size. */
    double sumOfSquares(Tensor x);

    /** {@code accumulator += x}: fp32 [any], x of the same sizes, contiguous both. */
    void accumulate(Tensor accumulator, Tensor x);

    /** {@code x += y}, rounded to x's type: same sizes, rows dense. */
    void add(Tensor x, Tensor y);

    // ---- block scores ----

    /** {@code scores[i, j] += mean over block (i, j) of |g|}: g [R, C], edge divides both, scores fp32 [R/edge, C/edge]. */
    void blockAbsoluteMean(Tensor g, int edge, Tensor scores);

    /** {@code scores[i, j] += mean over block (i, j) of g}, signed; as {@link #blockAbsoluteMean}. */
    void blockMean(Tensor g, int edge, Tensor scores);

    // ---- products ----

    /**
     * {@code out[m, n] = sum_k a[m, k] b[k, n]}, or added to out, for many rows: a [M, K] and b [K, N] of out's type, views of any strides,
     * out [M, N] with dense rows. Sums in fp32, rounded once; an element depends on nothing but its row of a and its column of b.
     */
    default void product(Tensor out, Tensor a, Tensor b, boolean add) {
        if (add) {
            out.torch().addmm(out, a, b, 1, 1);
        } else {
            out.torch().mm(out, a, b);
        }
    }

    // ---- gradients of selected blocks ----

    /**
     * {@code gradients[b] = sum_n gradOut[n, rows of block b]^T x[n, columns of block b]}, set, not added to: gradOut [N, O], x [N, K] of
     * its type, gradients [blocks, edge, edge] of x's type or fp32, contiguous. A block's row and column count squares of {@code edge}; x
     * may be the column slices that blocks need, beside each other, and the columns then count those.
     */
    default void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        Operands.blockGradients(gradOut, x, blocks, edge, gradients);
        try (Scope scope = new Scope(x.torch())) {
            for (int b = 0; b < blocks.size(); b++) {
                Tensor rows = gradOut.narrow(scope, 1, (long) blocks.get(b).row() * edge, edge);
                Tensor columns = x.narrow(scope, 1, (long) blocks.get(b).column() * edge, edge);
                if (gradients.dtype() != x.dtype()) {
                    rows = scope.copyTo(rows, gradients.dtype(), x.device());
                    columns = scope.copyTo(columns, gradients.dtype(), x.device());
                }
                product(gradients.narrow(scope, 0, b, 1).reshape(scope, edge, edge), rows.transpose(scope, 0, 1), columns, false);
            }
        }
    }

    // ---- linears through tile tables ----

    /**
     * {@code y[m, o] = sum_k x[m, k] w[o, k]} for few rows, reading each weight once: x [M, K], w [O, K] of x's type, y [M, O] of x's
     * type or fp32. {@code tiles} (or null) says which blocks of w come from elsewhere. The sum over k is made in an order that depends
     * only on K and the implementation: not on M, not on the tiles, not on the number of threads, so that the same row gives the same
     * bits in any batch, merged or tiled.
     */
    void linear(Tensor x, Tensor w, TileTable tiles, Tensor y);

    /**
     * Whether many rows of this type are faster through these kernels than through libtorch's products: {@link #linear} over
     * {@value #MANY_ROWS} of them at a time, and {@link #product}, which is libtorch's elsewhere.
     */
    default boolean suitsManyRows(DType type) {
        return false;
    }

    /**
     * As {@link #linear(Tensor, Tensor, TileTable, Tensor)}, each row of x through a table of its own: {@code tiles} has M entries, null
     * for the base alone. What rows share of the base is read once.
     */
    default void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        Operands.linearMixed(x, w, tiles, y);
        if (tiles.stream().allMatch(each -> each == tiles.getFirst())) {
            linear(x, w, tiles.getFirst(), y);
            return;
        }
        try (Scope scope = new Scope(x.torch())) {
            for (int m = 0; m < tiles.size(); m++) {
                linear(x.narrow(scope, 0, m, 1), w, tiles.get(m), y.narrow(scope, 0, m, 1));
            }
        }
    }

    /**
     * {@link #linearMixed} of one x over several weights, with its bits: {@code outs[i][m, o] = sum_k x[m, k] weights[i][o, k]}. weights
     * [O_i, K], outs [M, O_i], and for each weight as many {@code tiles} as x has rows. No result shares memory with another or with x.
     */
    default void linears(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {
        Operands.linears(x, weights, tiles, outs);
        for (int i = 0; x.size(0) > 0 && i < weights.size(); i++) {
            linearMixed(x, weights.get(i), tiles.get(i), outs.get(i));
        }
    }

    /**
     * {@link #swiGlu} of two linears over the base, with the bits of the three: {@code out = silu(x gate^T) (x up^T)}, both products
     * rounded to x's type first. x [M, K], gate and up [F, K], out and scratch [M, F] of one type, out and scratch in memory of their own;
     * what scratch holds means nothing.
     */
    default void gatedLinear(Tensor x, Tensor gate, Tensor up, Tensor scratch, Tensor out) {
        Operands.gatedLinear(x, gate, up, scratch, out);
        linear(x, gate, null, out);
        linear(x, up, null, scratch);
        swiGlu(out, scratch, out);
    }

    /**
     * {@link #linear} over a weight in bytes, each row of x through a table of its own: {@code y[m, o] = scales[o] sum_k x[m, k]
     * values[o, k]}, and where row m's table has a block, its values, exactly, in the place of {@code scales[o] values[o, k]}. {@code tiles}
     * has M entries, null for the base alone, or is null. x bf16 or fp32 [M, K], y [M, O] of x's type or fp32. The bytes are read once for
     * all rows. The order of the sum over k depends only on K, the implementation and the row's own table, so that the same row gives the
     * same bits in any batch.
     */
    void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y);

    /** {@code out[o, k] = scales[o] values[o, k]}, rounded to its type, with the table's blocks, if there is one, in place: out [O, K]. */
    void dequantise(Int8Weight w, TileTable tiles, Tensor out);

    /** {@code out = w} with the table's blocks in place: w, out [O, K], contiguous rows. */
    void assemble(Tensor w, TileTable tiles, Tensor out);

    // ---- attention over a cache, one new position per sequence ----

    /**
     * Softmax attention of one position: q [Q, D], keys and values [G, S, D] with dense rows of which the first {@code length} count,
     * out [Q, D]; query head h reads key/value head h / (Q / G).
     */
    void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out);

    // ---- pages of keys and values ----

    /** Row n of keys and values [N, G, D], contiguous, becomes the last position of cache n; no other position changes. */
    default void keep(Tensor keys, Tensor values, List<KvPages> caches) {
        Operands.keep(keys, values, caches);
        for (int n = 0; n < caches.size(); n++) {
            caches.get(n).put(keys, values, n, caches.get(n).length() - 1);
        }
    }

    /** Rows of keys and values [N, G, D], contiguous, become the last N positions of the cache. */
    default void keep(Tensor keys, Tensor values, KvPages cache) {
        Operands.keep(keys, values, cache);
        for (int n = 0; n < keys.dim(0); n++) {
            cache.put(keys, values, n, cache.length() - keys.dim(0) + n);
        }
    }

    /**
     * What decoding does before its attention: {@link #rope} of query and of key, then {@link #keep(Tensor, Tensor, List)} of key and
     * value, with the bits of the three. query [N, Q, D] with any strides of the first two dimensions, key and value [N, G, D], contiguous,
     * table and positions as rope's, a cache for each row, all of one layer.
     */
    default void ropeAndKeep(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, List<KvPages> caches) {
        Operands.ropeAndKeep(query, key, value, table, positions, caches);
        rope(query, table, positions, false);
        rope(key, table, positions, false);
        keep(key, value, caches);
    }

    // ---- attention over pages ----

    /**
     * {@link #decodeAttention} of R positions, each over a cache of its own: q, out [R, Q, D], a cache for each row. A row's result does
     * not depend on the other rows.
     */
    default void pagedAttention(Tensor q, List<KvPages> caches, float scale, Tensor out) {
        Operands.pagedAttention(q, caches, out);
        for (int r = 0; r < caches.size(); r++) {
            KvPages cache = caches.get(r);
            try (Scope scope = new Scope(q.torch())) {
                decodeAttention(row(q, r, scope), gathered(cache, false, scope), gathered(cache, true, scope), cache.length(), scale,
                        row(out, r, scope));
            }
        }
    }

    /**
     * {@link #causalAttention} of the last N of a cache's positions over all of them: q, out [N, Q, D]. A position's result does not depend
     * on how many others are asked for with it.
     */
    default void pagedCausalAttention(Tensor q, KvPages cache, float scale, Tensor out) {
        Operands.pagedCausalAttention(q, cache, out);
        try (Scope scope = new Scope(q.torch())) {
            Tensor keys = gathered(cache, false, scope);
            Tensor values = gathered(cache, true, scope);
            for (int n = 0; n < q.dim(0); n++) {
                int length = cache.length() - q.dim(0) + n + 1;
                decodeAttention(row(q, n, scope), keys, values, length, scale, row(out, n, scope));
            }
        }
    }

    /** Row n of [N, Q, D] as [Q, D]. */
    private static Tensor row(Tensor x, int n, Scope scope) {
        return x.strided(scope, new long[] {x.size(1), x.size(2)}, new long[] {x.stride(1), x.stride(2)}, n * x.stride(0));
    }

    /** A cache's keys or values as [G, S, D]. */
    private static Tensor gathered(KvPages cache, boolean values, Scope scope) {
        Tensor all = scope.empty(cache.type(), Device.CPU, cache.groups(), cache.length(), cache.dim());
        long bytes = (long) cache.dim() * cache.type().bytes();
        for (int g = 0; g < cache.groups(); g++) {
            for (int s = 0; s < cache.length(); s++) {
                MemorySegment.copy(cache.row(values, g, s), 0, all.segment(), ((long) g * cache.length() + s) * bytes, bytes);
            }
        }
        return all;
    }

    // ---- attention of whole sequences that lie one after another ----

    /**
     * Causal softmax attention, each sequence for itself: q, out [N, Q, D], k and v [N, G, D], starts int32 [sequences + 1] from 0 to N,
     * logSumExp fp32 [Q, N] (of the scaled scores) or null; query head h reads key/value head h / (Q / G). What is not finite in a
     * sequence may spoil all of that sequence.
     */
    void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp);

    /**
     * Its gradients, which are set, not added to: gradOut, gradQ [N, Q, D], gradK, gradV [N, G, D]; out and logSumExp are what the forward
     * pass gave.
     */
    void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts, float scale,
            Tensor gradQ, Tensor gradK, Tensor gradV);

    // ---- drawing ----

    /**
     * Draws a token of each row: {@code ids[r]} of logits [R, V], where {@code draws} has a draw for row r; where it has null, that id
     * stays as it is. V up to {@value Draw#MOST_LOGITS}, ids int32 [R]. The same logits give the same token by every implementation:
     *
     * <ol><li>Where a logit is NaN or positive infinity, the id is -1 - v for the first such v, and -1 where all are negative infinity. At
     * temperature 0 it is the lowest v of the largest logit.
     * <li>Else token v weighs {@code e^x} in 2^40ths, with {@code x = (logit - largest) scale}, both roundings in fp32, scale the
     * temperature's inverse in fp32, and x no less than -29. The exponential is {@code n = x log2(e)} rounded to a whole number, {@code r =
     * x - n ln 2} by two fused multiply-adds, a polynomial of degree 6 in r by six more, and its fp32 value in 2^24ths, an integer, times
     * 2^16, shifted right by -n; {@code ScalarDraws} has the constants. Weights are integers and so are their sums, in whatever order.
     * <li>Tokens are ordered by logit, the largest first, and by id where logits are equal, -0 and 0 too. Three cuts follow, as Hugging
     * Face's warpers have them: top-k keeps the first k and all that tie with the last of them; top-p of those each token before which
     * the others weigh less than {@code topP} of all together, but the first always; min-p what weighs {@code minP} of 2^40 or more.
     * Integers and products are compared as doubles.
     * <li>The upper 64 bits of the product of {@code random}, unsigned, and what all kept tokens weigh are a place below that weight; the
     * token is the first kept one, in order of ids, up to which kept tokens weigh more than it.</ol>
     */
    default void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        Operands.draw(logits, draws, ids);
        ScalarDraws.draw(logits, draws, ids);
    }

    /** {@link #draw(Tensor, List, Tensor)} of one row that lies on the host, whatever the device: the id, or -1 - v. */
    default int draw(float[] logits, Draw draw) {
        Operands.draw(logits);
        return ScalarDraws.draw(logits, draw);
    }
}
