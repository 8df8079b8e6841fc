package io.inlay.kernels;

import static java.lang.foreign.MemorySegment.NULL;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * The kernels in C (kernels/cpu), compiled for one instruction set, called through FFM. Operands are checked here; C trusts them. The
 * threads are the library's own and shared by all callers in the process.
 *
 * <p>With AVX512_BF16, {@link #linear} of bf16 counts denormal operands, products and sums as 0 (vdpbf16ps does).
 */
public final class NativeKernels implements Kernels {

    /** bf16 elements that the mixed linear takes at a time on the widest instruction set, and the rows that it takes at most. */
    private static final int MIXED_STEP = 32;
    private static final int MOST_MIXED = 32;

    private final InstructionSet set;
    private final NativeFunctions functions;
    private final int threads;
    private final boolean widens;

    private NativeKernels(InstructionSet set, NativeFunctions functions, int threads) {
        this.set = set;
        this.functions = functions;
        this.threads = threads;
        this.widens = set.widensBf16();
    }

    /** The library for this instruction set, which the processor must have; {@code threads} counts the caller's. */
    static NativeKernels load(InstructionSet set, int threads) throws IOException {
        NativeFunctions functions = NativeFunctions.bind(NativeLibrary.load(set).symbols());
        try {
            return new NativeKernels(set, functions, (int) functions.start().invokeExact(threads));
        } catch (Throwable failure) {
            throw new IOException("the threads of the native kernels do not start", failure);
        }
    }

    @Override
    public String name() {
        return set.title();
    }

    /** Cores that one call may use. */
    public int threads() {
        return threads;
    }

    @Override
    public void embed(Tensor table, Tensor ids, Tensor out) {
        Operands.embed(table, ids, out);
        MethodHandle f = functions.embed();
        call(() -> {
            f.invokeExact(table.segment(), table.stride(0), ids.segment(), out.segment(), out.stride(0), out.size(0), out.size(1),
                    type(out));
        });
    }

    @Override
    public void embedBackward(Tensor gradOut, Tensor ids, Tensor gradTable) {
        Operands.embedBackward(gradOut, ids, gradTable);
        MethodHandle f = functions.embedBackward();
        call(() -> {
            f.invokeExact(gradOut.segment(), gradOut.stride(0), ids.segment(), gradTable.segment(), gradTable.stride(0),
                    gradOut.size(0), gradOut.size(1), type(gradOut));
        });
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.rmsNorm(x, weight, out, rstd);
        MethodHandle f = functions.rmsNorm();
        call(() -> {
            f.invokeExact(x.segment(), x.stride(0), NULL, 0L, NULL, 0L, weight.segment(), eps, out.segment(), out.stride(0),
                    segment(rstd), x.size(0), x.size(1), type(x));
        });
    }

    @Override
    public void addRmsNorm(Tensor x, Tensor y, Tensor sum, Tensor weight, float eps, Tensor out, Tensor rstd) {
        Operands.addRmsNorm(x, y, sum, weight, out, rstd);
        MethodHandle f = functions.rmsNorm();
        call(() -> {
            f.invokeExact(x.segment(), x.stride(0), y.segment(), y.stride(0), sum.segment(), sum.stride(0), weight.segment(), eps,
                    out.segment(), out.stride(0), segment(rstd), x.size(0), x.size(1), type(x));
        });
    }

    @Override
    public void rmsNormBackward(Tensor gradOut, Tensor x, Tensor weight, Tensor rstd, Tensor gradX, Tensor gradWeight) {
        Operands.rmsNormBackward(gradOut, x, weight, rstd, gradX, gradWeight);
        MethodHandle f = functions.rmsNormBackward();
        call(() -> {
            f.invokeExact(gradOut.segment(), gradOut.stride(0), x.segment(), x.stride(0), weight.segment(), rstd.segment(),
                    gradX.segment(), gradX.stride(0), segment(gradWeight), x.size(0), x.size(1), type(x));
        });
    }

    @Override
    public void rope(Tensor x, Tensor table, Tensor positions, boolean inverse) {
        Operands.rope(x, table, positions);
        MethodHandle f = functions.rope();
        call(() -> {
            f.invokeExact(x.segment(), x.stride(0), x.stride(1), table.segment(), table.stride(0), positions.segment(),
                    inverse ? 1 : 0, x.size(0), x.size(1), x.size(2), type(x));
        });
    }

    @Override
    public void swiGlu(Tensor gate, Tensor up, Tensor out) {
        Operands.swiGlu(gate, up, out);
        MethodHandle f = functions.swiGlu();
        call(() -> {
            f.invokeExact(gate.segment(), gate.stride(0), up.segment(), up.stride(0), out.segment(), out.stride(0), gate.size(0),
                    gate.size(1), type(gate));
        });
    }

    @Override
    public void swiGluBackward(Tensor gradOut, Tensor gate, Tensor up, Tensor gradGate, Tensor gradUp) {
        Operands.swiGluBackward(gradOut, gate, up, gradGate, gradUp);
        MethodHandle f = functions.swiGluBackward();
        call(() -> {
            f.invokeExact(gradOut.segment(), gradOut.stride(0), gate.segment(), gate.stride(0), up.segment(), up.stride(0),
                    gradGate.segment(), gradGate.stride(0), gradUp.segment(), gradUp.stride(0), gate.size(0), gate.size(1), type(gate));
        });
    }

    @Override
    public void crossEntropy(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        Operands.crossEntropy(logits, targets, losses);
        MethodHandle f = functions.crossEntropy();
        call(() -> {
            f.invokeExact(logits.segment(), logits.stride(0), targets.segment(), scale, gradient ? 1 : 0, losses.segment(),
                    logits.size(0), logits.size(1), type(logits));
        });
    }

    @Override
    public void adamW(Tensor gradient, Tensor master, Tensor first, Tensor second, Tensor weight, AdamW step) {
        Operands.adamW(gradient, master, first, second, weight, step);
        AdamWConstants c = AdamWConstants.of(step);
        MethodHandle f = functions.adamW();
        call(() -> {
            f.invokeExact(gradient.segment(), master.segment(), first.segment(), second.segment(), weight.segment(),
                    master.elements(), c.scale(), c.beta1(), c.rest1(), c.beta2(), c.rest2(), c.decay(), c.stepSize(), c.rootScale(),
                    c.epsilon(), type(gradient), type(weight));
        });
    }

    @Override
    public double sumOfSquares(Tensor x) {
        Operands.sumOfSquares(x);
        MethodHandle f = functions.sumOfSquares();
        double[] sum = new double[1];
        for (Plane plane : Plane.of(x)) {
            call(() -> sum[0] += (double) f.invokeExact(from(x, plane, 0), plane.strides()[0], plane.rows(), plane.columns(), type(x)));
        }
        return sum[0];
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
        MethodHandle f = functions.add();
        for (Plane plane : Plane.of(x, y)) {
            call(() -> {
                f.invokeExact(from(x, plane, 0), plane.strides()[0], from(y, plane, 1), plane.strides()[1], plane.rows(),
                        plane.columns(), type(x), type(y));
            });
        }
    }

    @Override
    public void blockAbsoluteMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockAbsoluteMean", g, edge, scores);
        addBlockMeans(g, edge, scores, 1);
    }

    @Override
    public void blockMean(Tensor g, int edge, Tensor scores) {
        Operands.blockScores("blockMean", g, edge, scores);
        addBlockMeans(g, edge, scores, 0);
    }

    private void addBlockMeans(Tensor g, int edge, Tensor scores, int absolute) {
        MethodHandle f = functions.blockMeans();
        call(() -> {
            f.invokeExact(g.segment(), g.stride(0), (long) edge, scores.segment(), scores.stride(0), scores.size(0),
                    scores.size(1), absolute, type(g));
        });
    }

    @Override
    public void linear(Tensor x, Tensor w, TileTable tiles, Tensor y) {
        Operands.linear(x, w, tiles, y);
        MethodHandle f = functions.linear();
        MemorySegment pointers = tiles == null ? NULL : tiles.pointers();
        long edge = tiles == null ? 0 : tiles.edge();
        call(() -> {
            f.invokeExact(x.segment(), x.stride(0), w.segment(), w.stride(0), pointers, edge, y.segment(), y.stride(0), x.size(0),
                    w.size(0), x.size(1), type(x), type(y));
        });
    }

    @Override
    public void product(Tensor out, Tensor a, Tensor b, boolean add) {
        if (suitsManyRows(out.dtype()) && out.rowsDense() && out.elements() > 0 && a.elements() > 0) {
            ownProduct(out, a, b, add);
        } else {
            Kernels.super.product(out, a, b, add);
        }
    }

    /** {@link #product} by kernels/cpu/product.c, whatever is faster. */
    void ownProduct(Tensor out, Tensor a, Tensor b, boolean add) {
        Operands.product(out, a, b);
        MethodHandle f = functions.product();
        call(() -> {
            f.invokeExact(a.segment(), a.stride(0), a.stride(1), b.segment(), b.stride(0), b.stride(1), out.segment(), out.stride(0),
                    out.size(0), out.size(1), a.size(1), type(a), type(out), add ? 1 : 0);
        });
    }

    @Override
    public boolean suitsManyRows(DType type) {
        return type == DType.BF16 && widens;
    }

    @Override
    public void linearMixed(Tensor x, Tensor w, List<TileTable> tiles, Tensor y) {
        TileTable first = tiles.getFirst();
        long edge = TileTable.divisorOfEdges(tiles);
        boolean mixed = tiles.stream().anyMatch(each -> each != first) && x.dtype() == DType.BF16 && edge % MIXED_STEP == 0
                && tiles.size() <= MOST_MIXED;
        if (!mixed) {
            Kernels.super.linearMixed(x, w, tiles, y);
            return;
        }
        Operands.linearMixed(x, w, tiles, y);
        MethodHandle f = functions.linearMixed();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment tables = arena.allocate(ValueLayout.JAVA_LONG, tiles.size());
            MemorySegment edges = arena.allocate(ValueLayout.JAVA_LONG, tiles.size());
            for (int m = 0; m < tiles.size(); m++) {
                TileTable each = tiles.get(m);
                tables.setAtIndex(ValueLayout.JAVA_LONG, m, each == null ? 0 : each.pointers().address());
                edges.setAtIndex(ValueLayout.JAVA_LONG, m, each == null ? edge : each.edge());
            }
            call(() -> {
                f.invokeExact(x.segment(), x.stride(0), w.segment(), w.stride(0), tables, edges, edge, y.segment(), y.stride(0), x.size(0),
                        w.size(0), x.size(1), type(y));
            });
        }
    }

    @Override
    public void linearInt8(Tensor x, Int8Weight w, List<TileTable> tiles, Tensor y) {
        Operands.linearInt8(x, w, tiles, y);
        functions.int8().linear(x, w, tiles, y);
    }

    @Override
    public void dequantise(Int8Weight w, TileTable tiles, Tensor out) {
        Operands.dequantise(w, tiles, out);
        functions.int8().dequantise(w, tiles, out);
    }

    @Override
    public void assemble(Tensor w, TileTable tiles, Tensor out) {
        Operands.assemble(w, tiles, out);
        MethodHandle f = functions.assemble();
        call(() -> {
            f.invokeExact(w.segment(), w.stride(0), tiles.pointers(), (long) tiles.edge(), out.segment(), out.stride(0), w.size(0),
                    w.size(1), type(w));
        });
    }

    @Override
    public void decodeAttention(Tensor q, Tensor keys, Tensor values, int length, float scale, Tensor out) {
        Operands.decodeAttention(q, keys, values, length, out);
        MethodHandle f = functions.decodeAttention();
        call(() -> {
            f.invokeExact(q.segment(), q.stride(0), keys.segment(), keys.stride(0), keys.stride(1), values.segment(),
                    values.stride(0), values.stride(1), out.segment(), out.stride(0), q.size(0), keys.size(0), q.size(1), (long) length,
                    scale, type(q));
        });
    }

    @Override
    public void pagedAttention(Tensor q, List<KvPages> caches, float scale, Tensor out) {
        Operands.pagedAttention(q, caches, out);
        if (caches.isEmpty()) {
            return;
        }
        KvPages first = caches.getFirst();
        if (caches.stream().anyMatch(each -> each.keyOffset() != first.keyOffset() || each.valueOffset() != first.valueOffset())) {
            throw new IllegalArgumentException("pagedAttention: caches must be of one layer");
        }
        MethodHandle f = functions.pagedAttention();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment pages = arena.allocate(ValueLayout.JAVA_LONG, caches.size());
            MemorySegment lengths = arena.allocate(ValueLayout.JAVA_LONG, caches.size());
            for (int r = 0; r < caches.size(); r++) {
                pages.setAtIndex(ValueLayout.JAVA_LONG, r, caches.get(r).addresses().address());
                lengths.setAtIndex(ValueLayout.JAVA_LONG, r, caches.get(r).length());
            }
            call(() -> {
                f.invokeExact(q.segment(), q.stride(0), q.stride(1), pages, lengths, first.keyOffset(), first.valueOffset(), out.segment(),
                        out.stride(0), out.stride(1), q.size(0), q.size(1), (long) first.groups(), q.size(2), scale, type(q));
            });
        }
    }

    @Override
    public void pagedCausalAttention(Tensor q, KvPages cache, float scale, Tensor out) {
        Operands.pagedCausalAttention(q, cache, out);
        MethodHandle f = functions.pagedCausalAttention();
        call(() -> {
            f.invokeExact(q.segment(), q.stride(0), q.stride(1), cache.addresses(), cache.keyOffset(), cache.valueOffset(),
                    (long) cache.length(), scale, out.segment(), out.stride(0), out.stride(1), q.size(0), q.size(1), (long) cache.groups(),
                    q.size(2), type(q));
        });
    }

    @Override
    public void causalAttention(Tensor q, Tensor k, Tensor v, Tensor starts, float scale, Tensor out, Tensor logSumExp) {
        Operands.causalAttention(q, k, v, starts, out, logSumExp);
        MethodHandle f = functions.causalAttention();
        call(() -> {
            f.invokeExact(q.segment(), q.stride(0), q.stride(1), k.segment(), k.stride(0), k.stride(1), v.segment(), v.stride(0), v.stride(1),
                    starts.segment(), starts.size(0) - 1, scale, out.segment(), out.stride(0), out.stride(1), segment(logSumExp), q.size(0),
                    q.size(1), k.size(1), q.size(2), type(q));
        });
    }

    @Override
    public void causalAttentionBackward(Tensor gradOut, Tensor q, Tensor k, Tensor v, Tensor out, Tensor logSumExp, Tensor starts,
            float scale, Tensor gradQ, Tensor gradK, Tensor gradV) {
        Operands.causalAttentionBackward(gradOut, q, k, v, out, logSumExp, starts, gradQ, gradK, gradV);
        MethodHandle f = functions.causalAttentionBackward();
        Tensor[] strided = {q, k, v, out, gradOut, gradQ, gradK, gradV};
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment strides = arena.allocate(ValueLayout.JAVA_LONG, 2L * strided.length);
            for (int i = 0; i < strided.length; i++) {
                strides.setAtIndex(ValueLayout.JAVA_LONG, 2L * i, strided[i].stride(0));
                strides.setAtIndex(ValueLayout.JAVA_LONG, 2L * i + 1, strided[i].stride(1));
            }
            call(() -> {
                f.invokeExact(gradOut.segment(), q.segment(), k.segment(), v.segment(), out.segment(), logSumExp.segment(), starts.segment(),
                        starts.size(0) - 1, scale, gradQ.segment(), gradK.segment(), gradV.segment(), strides, q.size(0), q.size(1),
                        k.size(1), q.size(2), type(q));
            });
        }
    }

    @Override
    public void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        Operands.draw(logits, draws, ids);
        functions.draws().draw(logits, draws, ids);
    }

    @Override
    public int draw(float[] logits, Draw draw) {
        Operands.draw(logits);
        return functions.draws().draw(logits, draw);
    }

    // ---- calling ----

    /** A downcall; its method handle declares Throwable but cannot throw what is not a programming error. */
    @FunctionalInterface
    interface Downcall {
        void run() throws Throwable;
    }

    static void call(Downcall downcall) {
        try {
            downcall.run();
        } catch (RuntimeException refused) {
            throw refused;
        } catch (Throwable impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** As kernels/cpu/inlay.h numbers them. */
    private static int type(Tensor tensor) {
        return tensor.dtype() == DType.BF16 ? 1 : 0;
    }

    private static MemorySegment segment(Tensor tensor) {
        return tensor == null ? NULL : tensor.segment();
    }

    private static MemorySegment from(Tensor tensor, Plane plane, int index) {
        return tensor.segment().asSlice(plane.offsets()[index] * tensor.dtype().bytes());
    }
}
