package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.util.List;

/** Launches of kernels/paged_attention.cu and causal_attention.cu. */
final class CudaAttention {

    private static final int THREADS = 128;

    /** The largest head dimension that the kernels have registers for. */
    private static final int MOST_DIM = 256;

    private static final int SPLIT = CudaPages.SPLIT;

    /** Heads of a group that share what a block reads. */
    private static final int HEADS = 4;

    /** Rows of a block with tensor cores, which take D up to {@link #WIDEST}, and of one without. */
    private static final int ROWS = 64;
    private static final int WIDEST = 128;
    private static final int ROWS_ANY = 4;

    /** Rows of a tile that a block of the backward pass streams, and bytes beside each of them. */
    private static final int STREAMED = 32;
    private static final int BESIDE = 8;

    /** Elements between rows in shared memory, beyond D. */
    private static final int PADDING = 8;

    private final CudaLauncher launcher;
    private final CudaPages pages;

    CudaAttention(CudaLauncher launcher, CudaPages pages) {
        this.launcher = launcher;
        this.pages = pages;
    }

    // ---- one position ----

    void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        requireDim("decodeAttention", q.dim(1));
        int heads = q.dim(0);
        int splits = Math.ceilDiv(length, SPLIT);
        try (DeviceBuffer partial = launcher.scratch(4L * heads * splits * (q.size(1) + 2))) {
            single("decode_attention", q, q.dim(1)).grid(splits, blocks(heads, keys.dim(0)), 1).matrix(q)
                    .tensor(keys).number(keys.stride(0)).number(keys.stride(1)).tensor(values).number(values.stride(0))
                    .number(values.stride(1)).integer(length).address(partial.address()).integer(heads).integer(keys.dim(0))
                    .integer(q.dim(1)).real(scale).on(launcher);
            CudaLaunch.of("attention_splits", out).grid(heads).block(THREADS).address(partial.address()).address(0).address(0)
                    .integer(length).integer(q.dim(1)).tensor(out).number(0).number(out.stride(0)).on(launcher);
        }
    }

    void pagedAttention(Tensor q, List<KvPages> caches, float scale, Tensor out) {
        requireDim("pagedAttention", q.dim(2));
        if (caches.isEmpty()) {
            return;
        }
        pages.with("pagedAttention", caches, lists -> pagedAttention(q, caches.getFirst(), lists, scale, out));
    }

    /** @param first of the caches, whose layer and sizes all have */
    private void pagedAttention(Tensor q, KvPages first, CudaPages.Lists lists, float scale, Tensor out) {
        int rows = q.dim(0);
        try (DeviceBuffer partial = launcher.scratch(4L * q.dim(1) * lists.splits() * (q.size(2) + 2))) {
            single("paged_attention", q, q.dim(2)).grid(Math.ceilDiv(lists.longest(), SPLIT), blocks(q.dim(1), first.groups()), rows)
                    .tensor(q).number(q.stride(0)).number(q.stride(1)).address(lists.pages()).number(lists.most())
                    .address(lists.lengths()).address(lists.firsts()).number(first.keyOffset()).number(first.valueOffset())
                    .address(partial.address()).integer(q.dim(1)).integer(first.groups()).integer(q.dim(2)).real(scale).on(launcher);
            CudaLaunch.of("attention_splits", out).grid(q.size(1), rows, 1).block(THREADS).address(partial.address())
                    .address(lists.lengths()).address(lists.firsts()).integer(0).integer(q.dim(2)).tensor(out).number(out.stride(0))
                    .number(out.stride(1)).on(launcher);
        }
    }

    private static CudaLaunch single(String kernel, Tensor q, int dim) {
        return CudaLaunch.of(kernel + (dim <= 64 ? "_64" : dim <= 128 ? "_128" : "_256"), q).block(THREADS);
    }

    private static int blocks(int heads, int groups) {
        return groups * Math.ceilDiv(heads / groups, HEADS);
    }

    // ---- whole sequences ----

    void pagedCausalAttention(Tensor q, KvPages cache, float scale, Tensor out) {
        requireDim("pagedCausalAttention", q.dim(2));
        pages.with("pagedCausalAttention", List.of(cache), lists -> rows("paged_causal_attention", q, q.size(0), 0, q.dim(1))
                .shared(tiled(q) ? forwardBytes(q.dim(2)) : 0)
                .tensor(q).number(q.stride(0)).number(q.stride(1)).address(lists.pages()).number(cache.keyOffset())
                .number(cache.valueOffset()).integer(cache.length()).tensor(out).number(out.stride(0)).number(out.stride(1))
                .integer(q.dim(0)).integer(q.dim(1)).integer(cache.groups()).integer(q.dim(2)).real(scale).on(launcher));
    }

    void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        requireDim("causalAttention", q.dim(2));
        CudaLaunch launch = rows("causal_attention", q, q.size(0), starts.size(0) - 1, q.dim(1))
                .shared(tiled(q) ? forwardBytes(q.dim(2)) : 0);
        strided(launch, q, k, v).tensor(starts).integer(starts.dim(0) - 1);
        sizes(strided(launch, out).tensor(logSumExp), q, k, scale).on(launcher);
    }

    void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts, float scale,
            Tensor gradQ, Tensor gradK, Tensor gradV) {
        requireDim("causalAttentionBackward", q.dim(2));
        long sequences = starts.size(0) - 1;
        int shared = tiled(q) ? backwardBytes(q.dim(2)) : 0;
        try (DeviceBuffer delta = launcher.scratch(4 * q.size(0) * q.size(1))) {
            strided(CudaLaunch.of("causal_delta", q).grid(Math.ceilDiv(q.size(0), ROWS_ANY), q.size(1), 1).block(THREADS), gradOut, out)
                    .integer(q.dim(2)).number(q.size(0)).address(delta.address()).on(launcher);
            CudaLaunch keys = rows("causal_gradient_keys", q, q.size(0), sequences, k.dim(1)).shared(shared);
            strided(keys, gradOut, q, k, v).tensor(logSumExp).address(delta.address()).tensor(starts).integer((int) sequences);
            sizes(strided(keys, gradK, gradV), q, k, scale).on(launcher);
            CudaLaunch queries = rows("causal_gradient_queries", q, q.size(0), sequences, q.dim(1)).shared(shared);
            strided(queries, gradOut, q, k, v).tensor(logSumExp).address(delta.address()).tensor(starts).integer((int) sequences);
            sizes(strided(queries, gradQ), q, k, scale).on(launcher);
        }
    }

    /** Whether tensor cores take it. */
    private static boolean tiled(Tensor q) {
        return q.dtype() == DType.BF16 && q.dim(2) <= WIDEST;
    }

    /** The entry for q's type and D, and a block for {@link #ROWS} rows of a head, of which every sequence may leave one incomplete. */
    private static CudaLaunch rows(String kernel, Tensor q, long tokens, long sequences, int heads) {
        if (!tiled(q)) {
            return CudaLaunch.of(kernel + "_any", q).grid(Math.ceilDiv(tokens, ROWS_ANY), heads, 1).block(THREADS);
        }
        long tiles = sequences == 0 ? Math.ceilDiv(tokens, ROWS) : tokens == 0 ? 0 : tokens / ROWS + sequences;
        return CudaLaunch.of(kernel + "_" + width(q.dim(2))).grid(tiles, heads, 1).block(THREADS);
    }

    private static int width(int dim) {
        return dim <= 64 ? 64 : WIDEST;
    }

    private static int forwardBytes(int dim) {
        return 5 * ROWS * (width(dim) + PADDING) * 2;
    }

    private static int backwardBytes(int dim) {
        return 2 * ROWS * (width(dim) + PADDING) * 2 + 2 * STREAMED * (2 * (width(dim) + PADDING) * 2 + BESIDE);
    }

    /** Pointers, each with the strides of its rows and heads. */
    private static CudaLaunch strided(CudaLaunch launch, Tensor... tensors) {
        for (Tensor tensor : tensors) {
            launch.tensor(tensor).number(tensor.stride(0)).number(tensor.stride(1));
        }
        return launch;
    }

    private static CudaLaunch sizes(CudaLaunch launch, Tensor q, Tensor k, float scale) {
        return launch.number(q.size(0)).integer(q.dim(1)).integer(k.dim(1)).integer(q.dim(2)).real(scale);
    }

    private static void requireDim(String operation, int dim) {
        if (dim > MOST_DIM) {
            throw new IllegalArgumentException(operation + ": heads of " + dim + " are too wide for the CUDA kernels, which take up to "
                    + MOST_DIM);
        }
    }
}
