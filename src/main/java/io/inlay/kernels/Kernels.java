package io.inlay.kernels;

import io.inlay.tensor.Tensor;

/**
 * The fused operations. All implementations give the results of {@link ScalarKernels} within the contract test's bounds, accept any
 * strides whose last dimension is dense ("rows dense"), accept bf16 and fp32 unless said otherwise, compute in fp32, round once to the
 * output's type (nearest even), and refuse operands that do not fit with an {@link IllegalArgumentException} that names them.
 *
 * <p>Legend: N tokens (rows), H hidden size, F feed-forward size, V vocabulary, D head dimension, Q query heads, G key/value heads
 * (Q is a multiple of G), M rows of a decode batch (1 to 16), K input features, O output features, S cached positions.
 *
 * <p>Thread-safe: any number of threads may call; each call may use several cores.
 */
public interface Kernels {

    /** For logs and benchmarks: {@code scalar}, {@code vector}, {@code native avx512bf16}. */
    String name();

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

    // ---- linears through tile tables ----

    /**
     * {@code y[m, o] = sum_k x[m, k] w[o, k]} for few rows, reading each weight once: x [M, K], w [O, K] of x's type, y [M, O] of x's
     * type or fp32. {@code tiles} (or null) says which blocks of w come from elsewhere. The sum over k is made in an order that depends
     * only on K and the implementation: not on M, not on the tiles, not on the number of threads, so that the same row gives the same
     * bits in any batch, merged or tiled.
     */
    void linear(Tensor x, Tensor w, TileTable tiles, Tensor y);

    /** {@code out = w} with the table's blocks in place: w, out [O, K], contiguous rows. */
    void assemble(Tensor w, TileTable tiles, Tensor out);

    // ---- attention over a cache, one new position per sequence ----

    /**
     * Softmax attention of one position: q [Q, D], keys and values [G, S, D] with dense rows of which the first {@code length} count,
     * out [Q, D]; query head h reads key/value head h / (Q / G).
     */
    void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out);

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
}
