package io.inlay.kernels;

import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** Launches of what goes row by row: kernels/embed.cu, norm.cu, rope.cu, swiglu.cu, loss.cu, assemble.cu, keep.cu. */
final class CudaRows {

    private static final int THREADS = CudaLaunch.THREADS;
    private static final int PIECE = CudaLaunch.PIECE;
    private static final int ROPE_THREADS = 128;
    private static final int KEEP_THREADS = 128;

    /** Rows whose weight gradients rms_norm_weight adds up in one block. */
    private static final int GROUP = 64;

    /** Logits of one block of loss.cu; a multiple of {@link #PIECE}. */
    private static final int CHUNK = 8192;

    private final CudaLauncher launcher;
    private final CudaTables tables;

    CudaRows(CudaLauncher launcher, CudaTables tables) {
        this.launcher = launcher;
        this.tables = tables;
    }

    void embed(Tensor table, Tensor ids, Tensor out) {
        CudaLaunch.overRows("embed", out.size(0), out.size(1), out).matrix(table).integer(table.dim(0)).tensor(ids).matrix(out)
                .number(out.size(0)).number(out.size(1)).on(launcher);
    }

    void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        CudaLaunch.of("embed_backward", gradOut).grid(gradOut.size(0)).block(THREADS).matrix(gradOut).tensor(ids).matrix(gradTable)
                .integer(gradTable.dim(0)).integer(gradOut.dim(0)).number(gradOut.size(1)).on(launcher);
    }

    void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        CudaLaunch.of("rms_norm", x).grid(x.size(0)).block(CudaLaunch.threads(x.size(1))).matrix(x).address(0).number(0)
                .address(0).number(0).tensor(weight).real(eps).matrix(out).tensor(rstd).number(x.size(1)).on(launcher);
    }

    void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        CudaLaunch.of("rms_norm", x).grid(x.size(0)).block(CudaLaunch.threads(x.size(1))).matrix(x).matrix(y).matrix(sum)
                .tensor(weight).real(eps).matrix(out).tensor(rstd).number(x.size(1)).on(launcher);
    }

    void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        long rows = x.size(0);
        long width = x.size(1);
        CudaLaunch.of("rms_norm_backward", x).grid(rows).block(CudaLaunch.threads(width)).matrix(gradOut).matrix(x).tensor(weight)
                .tensor(rstd).matrix(gradX).number(width).on(launcher);
        if (gradWeight == null || rows == 0) {
            return;
        }
        // A group takes more rows where a grid would not have that many.
        long group = Math.max(GROUP, Math.ceilDiv(rows, CudaLaunch.MOST_ROWS));
        int groups = Math.toIntExact(Math.ceilDiv(rows, group));
        try (DeviceBuffer partial = launcher.scratch(4 * groups * width)) {
            int threads = CudaLaunch.threads(width);
            CudaLaunch.of("rms_norm_weight", x).grid(Math.ceilDiv(width, threads * PIECE), groups, 1).block(threads)
                    .matrix(gradOut).matrix(x).tensor(rstd).address(partial.address()).number(rows).number(group).number(width)
                    .on(launcher);
            CudaLaunch.of("add_partials").grid(Math.ceilDiv(width, THREADS)).block(THREADS).address(partial.address()).integer(groups)
                    .tensor(gradWeight).number(width).on(launcher);
        }
    }

    void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        int half = x.dim(2) / 2;
        long pieces = x.size(1) * Math.ceilDiv(half, PIECE);
        CudaLaunch.of("rope", x).grid(Math.ceilDiv(pieces, ROPE_THREADS), Math.min(x.size(0), CudaLaunch.MOST_ROWS), 1).block(ROPE_THREADS)
                .tensor(x).number(x.stride(0)).number(x.stride(1)).matrix(table).integer(table.dim(0)).tensor(positions)
                .real(inverse ? -1f : 1f).number(x.size(0)).integer(x.dim(1)).integer(half).on(launcher);
    }

    /**
     * @param first of the caches, whose layer and sizes all have
     * @param lists of the caches
     */
    void ropeAndKeep(Tensor query, Tensor key, Tensor value, Tensor table, Tensor positions, KvPages first, CudaPages.Lists lists) {
        int half = query.dim(2) / 2;
        long pieces = (query.size(1) + key.size(1)) * Math.ceilDiv(half, PIECE);
        CudaLaunch.of("rope_keep", query)
                .grid(Math.ceilDiv(pieces, ROPE_THREADS), Math.min(query.size(0), CudaLaunch.MOST_ROWS), 1).block(ROPE_THREADS)
                .tensor(query).number(query.stride(0)).number(query.stride(1)).tensor(key).tensor(value).matrix(table)
                .integer(table.dim(0)).tensor(positions).address(lists.pages()).number(lists.most()).address(lists.lengths())
                .number(first.keyOffset()).number(first.valueOffset()).number(query.size(0)).integer(query.dim(1)).integer(key.dim(1))
                .integer(half).on(launcher);
    }

    void swiGlu(Tensor gate, Tensor up, Tensor out) {
        CudaLaunch.overRows("swiglu", gate.size(0), gate.size(1), gate).matrix(gate).matrix(up).matrix(out)
                .number(gate.size(0)).number(gate.size(1)).on(launcher);
    }

    void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        CudaLaunch.overRows("swiglu_backward", gate.size(0), gate.size(1), gate).matrix(gradOut).matrix(gate).matrix(up).matrix(gradGate)
                .matrix(gradUp).number(gate.size(0)).number(gate.size(1)).on(launcher);
    }

    void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        long vocabulary = logits.size(1);
        int chunks = Math.toIntExact(Math.ceilDiv(vocabulary, CHUNK));
        for (long from = 0; from < logits.size(0); from += CudaLaunch.MOST_ROWS) {
            long rows = Math.min(CudaLaunch.MOST_ROWS, logits.size(0) - from);
            long first = logits.address() + from * logits.stride(0) * logits.dtype().bytes();
            try (DeviceBuffer partial = launcher.scratch(8 * rows * chunks)) {
                CudaLaunch.of("cross_entropy_sums", logits).grid(chunks, rows, 1).block(THREADS).address(first).number(logits.stride(0))
                        .address(targets.address() + 4 * from).address(losses.address() + 4 * from).address(partial.address())
                        .number(vocabulary).number(CHUNK).on(launcher);
                CudaLaunch.of("cross_entropy", logits).grid(gradient ? chunks : 1, rows, 1).block(THREADS).address(first)
                        .number(logits.stride(0)).address(targets.address() + 4 * from).real(scale).integer(gradient ? 1 : 0)
                        .address(losses.address() + 4 * from).address(partial.address()).integer(chunks).number(vocabulary).number(CHUNK)
                        .on(launcher);
            }
        }
    }

    void assemble(Tensor w, TileTable tiles, Tensor out) {
        CudaLaunch.overRows("assemble", w.size(0), w.size(1), w).matrix(w).address(tables.address(tiles)).integer(tiles.edge()).matrix(out)
                .integer(w.dim(0)).integer(w.dim(1)).on(launcher);
    }

    /** Row n of keys and values [N, G, D], contiguous, becomes the last position of cache n. */
    void keep(Tensor keys, Tensor values, List<KvPages> caches) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment places = arena.allocate(ValueLayout.JAVA_LONG, 2L * caches.size());
            for (int n = 0; n < caches.size(); n++) {
                place(places, n, caches.size(), caches.get(n), caches.get(n).length() - 1);
            }
            keep(keys, values, places);
        }
    }

    /** Rows of keys and values [N, G, D], contiguous, become the last N positions of the cache. */
    void keep(Tensor keys, Tensor values, KvPages cache) {
        int rows = keys.dim(0);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment places = arena.allocate(ValueLayout.JAVA_LONG, 2L * rows);
            for (int n = 0; n < rows; n++) {
                place(places, n, rows, cache, cache.length() - rows + n);
            }
            keep(keys, values, places);
        }
    }

    private static void place(MemorySegment places, int n, int rows, KvPages cache, int position) {
        places.setAtIndex(ValueLayout.JAVA_LONG, n, cache.row(false, 0, position).address());
        places.setAtIndex(ValueLayout.JAVA_LONG, rows + n, cache.row(true, 0, position).address());
    }

    /** @param places where each row's key goes, then where each row's value does */
    private void keep(Tensor keys, Tensor values, MemorySegment places) {
        long rows = keys.size(0);
        int groups = keys.dim(1);
        int dim = keys.dim(2);
        if (rows == 0) {
            return;
        }
        try (DeviceBuffer table = launcher.copyOf(places)) {
            long pieces = (long) groups * Math.ceilDiv(dim, PIECE);
            CudaLaunch.of("keep", keys).grid(Math.ceilDiv(pieces, KEEP_THREADS), Math.min(rows, CudaLaunch.MOST_ROWS), 1)
                    .block(KEEP_THREADS).tensor(keys).tensor(values).address(table.address()).address(table.address() + 8 * rows)
                    .number(rows).integer(groups).integer(dim).number((long) KvPages.PAGE * dim).on(launcher);
        }
    }
}
