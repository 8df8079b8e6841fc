package io.inlay.bench;

import io.inlay.delta.BlockCoordinate;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Draw;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * {@code ./inlay bench kernels [ROUNDS]}: the kernels at Llama-3.2-1B's shapes in bf16, each beside its floor, the bytes that it must
 * move over the bandwidth of libtorch's copy in the same round, and linears beside libtorch's own product. Medians of alternating rounds.
 */
final class KernelSpeed {

    private static final int ROUNDS = 15;
    private static final int HIDDEN = 2048;
    private static final int FEED_FORWARD = 8192;
    private static final int TOKENS = 1024;
    private static final int SEQUENCE = 128;
    private static final int VOCABULARY = 128_256;
    private static final int EDGE = 256;
    /** Every so many blocks one comes from a delta: 0.8 %. */
    private static final int BLOCKS_PER_DELTA_BLOCK = 125;

    private final Libtorch torch = Libtorch.load();
    private final Kernels kernels = CpuKernels.best();
    private final List<Case> cases = new ArrayList<>();

    /** One measurement; {@code bytes} is what it has to read and write. */
    private record Case(String name, double bytes, int repeats, Runnable work, List<Double> seconds) {

        double median() {
            return Figures.median(seconds);
        }
    }

    private KernelSpeed() {
    }

    public static void main(String[] arguments) {
        new KernelSpeed().run(arguments.length > 0 ? Integer.parseInt(arguments[0]) : ROUNDS);
    }

    private void add(String name, double bytes, Runnable work) {
        cases.add(new Case(name, bytes, (int) Math.max(1, 100e6 / bytes), work, new ArrayList<>()));
    }

    private void run(int rounds) {
        try (Scope scope = new Scope(torch); Arena arena = Arena.ofConfined()) {
            Tensor from = scope.zeros(DType.BF16, Device.CPU, 64 << 20);
            Tensor to = scope.zeros(DType.BF16, Device.CPU, 64 << 20);
            add("copy (libtorch)", 2.0 * 2 * (64 << 20), () -> torch.copy(to, from));
            addLinears(scope, arena);
            addElementwise(scope);
            addAttention(scope);
            addDraws(scope);
            for (int round = -1; round < rounds; round++) {
                for (Case each : cases) {
                    long start = System.nanoTime();
                    for (int i = 0; i < each.repeats(); i++) {
                        each.work().run();
                    }
                    if (round >= 0) {
                        each.seconds().add((System.nanoTime() - start) / 1e9 / each.repeats());
                    }
                }
            }
        }
        print(rounds);
    }

    private void addLinears(Scope scope, Arena arena) {
        Tensor weight = scope.zeros(DType.BF16, Device.CPU, 16 * FEED_FORWARD, HIDDEN);
        for (int rows : new int[] {1, 4, 16}) {
            Tensor x = scope.zeros(DType.BF16, Device.CPU, rows, HIDDEN);
            Tensor y = scope.zeros(DType.BF16, Device.CPU, rows, FEED_FORWARD);
            // Weights of 16 layers in turn, so that none is found in a cache.
            int[] turn = {0, 0, 0};
            double bytes = 2.0 * FEED_FORWARD * HIDDEN;
            add("linear, " + rows + " rows", bytes, () -> kernels.linear(x, layer(scope, weight, turn, 0), null, y));
            List<TileTable> tables = new ArrayList<>();
            for (int layer = 0; layer < 16; layer++) {
                tables.add(tiles(arena));
            }
            add("linear, " + rows + " rows, tiled", bytes, () -> {
                int at = turn[1] % 16;
                kernels.linear(x, layer(scope, weight, turn, 1), tables.get(at), y);
            });
            add("linear, " + rows + " rows (libtorch)", bytes,
                    () -> torch.mm(y, x, layer(scope, weight, turn, 2).transpose(scope, 0, 1)));
        }
    }

    private static Tensor layer(Scope scope, Tensor weight, int[] turn, int which) {
        return weight.narrow(scope, 0, (long) (turn[which]++ % 16) * FEED_FORWARD, FEED_FORWARD);
    }

    private static TileTable tiles(Arena arena) {
        List<BlockCoordinate> places = new ArrayList<>();
        int across = HIDDEN / EDGE;
        for (int k = 0; k < FEED_FORWARD / EDGE * across; k += BLOCKS_PER_DELTA_BLOCK) {
            places.add(new BlockCoordinate(k / across, k % across));
        }
        MemorySegment values = arena.allocate(2L * EDGE * EDGE * places.size(), 64);
        return TileTable.of(arena, FEED_FORWARD, HIDDEN, EDGE, places, values, 2);
    }

    private void addElementwise(Scope scope) {
        Tensor x = scope.zeros(DType.BF16, Device.CPU, TOKENS, HIDDEN);
        Tensor y = scope.zeros(DType.BF16, Device.CPU, TOKENS, HIDDEN);
        Tensor norm = scope.zeros(DType.BF16, Device.CPU, HIDDEN);
        Tensor rstd = scope.zeros(DType.FP32, Device.CPU, TOKENS);
        double row = 2.0 * TOKENS * HIDDEN;
        add("rms norm", 2 * row, () -> kernels.rmsNorm(x, norm, 1e-5f, y, rstd));
        add("rms norm backward", 4 * row, () -> kernels.rmsNormBackward(x, y, norm, rstd, y, null));
        Tensor gate = scope.zeros(DType.BF16, Device.CPU, TOKENS, FEED_FORWARD);
        Tensor up = scope.zeros(DType.BF16, Device.CPU, TOKENS, FEED_FORWARD);
        Tensor out = scope.zeros(DType.BF16, Device.CPU, TOKENS, FEED_FORWARD);
        double wide = 2.0 * TOKENS * FEED_FORWARD;
        add("SwiGLU", 3 * wide, () -> kernels.swiGlu(gate, up, out));
        add("SwiGLU backward", 5 * wide, () -> kernels.swiGluBackward(out, gate, up, gate, up));
        Tensor gradient = scope.zeros(DType.FP32, Device.CPU, HIDDEN, HIDDEN);
        Tensor scores = scope.zeros(DType.FP32, Device.CPU, HIDDEN / EDGE, HIDDEN / EDGE);
        add("block scores", 4.0 * HIDDEN * HIDDEN, () -> kernels.blockAbsoluteMean(gradient, EDGE, scores));
        Tensor master = scope.zeros(DType.FP32, Device.CPU, HIDDEN, HIDDEN);
        Tensor first = scope.zeros(DType.FP32, Device.CPU, HIDDEN, HIDDEN);
        Tensor second = scope.zeros(DType.FP32, Device.CPU, HIDDEN, HIDDEN);
        Tensor weight = scope.zeros(DType.BF16, Device.CPU, HIDDEN, HIDDEN);
        var step = new Kernels.AdamW(1e-3, 0.9, 0.95, 1e-8, 0, 1, 1);
        add("AdamW", (4 * 7 + 2.0) * HIDDEN * HIDDEN, () -> kernels.adamW(gradient, master, first, second, weight, step));
    }

    /** A layer's attention over sequences of GSM8K's length, beside libtorch's, which takes one sequence a call. */
    private void addAttention(Scope scope) {
        int heads = 32;
        int groups = 8;
        int headDim = 64;
        Tensor q = scope.zeros(DType.BF16, Device.CPU, TOKENS, heads, headDim);
        Tensor k = scope.zeros(DType.BF16, Device.CPU, TOKENS, groups, headDim);
        Tensor v = scope.zeros(DType.BF16, Device.CPU, TOKENS, groups, headDim);
        Tensor out = scope.zeros(DType.BF16, Device.CPU, TOKENS, heads, headDim);
        Tensor sums = scope.zeros(DType.FP32, Device.CPU, heads, TOKENS);
        int[] starts = IntStream.rangeClosed(0, TOKENS / SEQUENCE).map(s -> s * SEQUENCE).toArray();
        Tensor at = scope.of(Device.CPU, starts, starts.length);
        Tensor gradQ = scope.zeros(DType.BF16, Device.CPU, TOKENS, heads, headDim);
        Tensor gradK = scope.zeros(DType.BF16, Device.CPU, TOKENS, groups, headDim);
        Tensor gradV = scope.zeros(DType.BF16, Device.CPU, TOKENS, groups, headDim);
        double bytes = q.bytes() + k.bytes() + v.bytes() + out.bytes();
        add("attention", bytes, () -> kernels.causalAttention(q, k, v, at, 0.125f, out, sums));
        add("attention backward", 2 * bytes,
                () -> kernels.causalAttentionBackward(q, q, k, v, out, sums, at, 0.125f, gradQ, gradK, gradV));
        long[] size = {groups, heads / groups, SEQUENCE, headDim};
        long row = (long) heads * headDim;
        long narrow = (long) groups * headDim;
        add("attention (libtorch)", bytes, () -> perSequence((pass, s) -> theirs(pass, q, k, v, size, row, narrow, s)));
        add("attention backward (libtorch)", 2 * bytes, () -> perSequence((pass, s) -> {
            Tensor query = q.strided(pass, size, new long[] {row / groups, headDim, row, 1}, s * SEQUENCE * row);
            Tensor key = k.strided(pass, size, new long[] {headDim, 0, narrow, 1}, s * SEQUENCE * narrow);
            torch.attentionBackward(pass, query, query, key, key, new Libtorch.Attention(query, sums.narrow(pass, 1, s * SEQUENCE, SEQUENCE)
                    .strided(pass, new long[] {groups, heads / groups, SEQUENCE}, new long[] {(long) heads / groups * TOKENS, TOKENS, 1}, 0)),
                    true, 0.125);
        }));
    }

    /** Rows of logits as a step has them, of Llama 3's vocabulary, each read once at least. */
    private void addDraws(Scope scope) {
        int rows = 8;
        SplittableRandom random = new SplittableRandom(1);
        float[] values = new float[rows * VOCABULARY];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (2.5 * random.nextGaussian());
        }
        Tensor logits = scope.of(Device.CPU, values, rows, VOCABULARY);
        Tensor ids = scope.of(Device.CPU, new int[rows], rows);
        for (Draw draw : List.of(Draw.GREEDY, new Draw(1, 0, 1, 0, random.nextLong()), new Draw(1, 0, 0.9, 0, random.nextLong()),
                new Draw(1, 50, 1, 0, random.nextLong()), new Draw(1, 50, 0.9, 0.05, random.nextLong()))) {
            List<Draw> draws = Collections.nCopies(rows, draw);
            add(String.format(Locale.ROOT, "draw of %d rows, temperature %.0f, top-k %d, top-p %.1f, min-p %.2f", rows, draw.temperature(),
                    draw.topK(), draw.topP(), draw.minP()), logits.bytes(), () -> kernels.draw(logits, draws, ids));
        }
    }

    private interface OfSequence {
        void run(Scope pass, long sequence);
    }

    private void perSequence(OfSequence work) {
        for (long s = 0; s < TOKENS / SEQUENCE; s++) {
            try (Scope pass = new Scope(torch)) {
                work.run(pass, s);
            }
        }
    }

    private void theirs(Scope pass, Tensor q, Tensor k, Tensor v, long[] size, long row, long narrow, long s) {
        torch.attention(pass, q.strided(pass, size, new long[] {row / size[0], size[3], row, 1}, s * SEQUENCE * row),
                k.strided(pass, size, new long[] {size[3], 0, narrow, 1}, s * SEQUENCE * narrow),
                v.strided(pass, size, new long[] {size[3], 0, narrow, 1}, s * SEQUENCE * narrow), true, 0.125);
    }

    private void print(int rounds) {
        double bandwidth = cases.getFirst().bytes() / cases.getFirst().median();
        System.out.printf(Locale.ROOT, "kernels %s, %s; medians of %d alternating rounds%n%n", kernels.name(), torch.description(), rounds);
        List<String[]> table = new ArrayList<>();
        table.add(new String[] {"", "microseconds", "min .. max (s)", "GB/s", "of copy's bandwidth"});
        for (Case each : cases) {
            double rate = each.bytes() / each.median();
            table.add(new String[] {each.name(), String.format(Locale.ROOT, "%.1f", each.median() * 1e6), Figures.spread(each.seconds()),
                    String.format(Locale.ROOT, "%.1f", rate / 1e9), String.format(Locale.ROOT, "%.2f", rate / bandwidth)});
        }
        Figures.table(table);
        System.out.println();
        for (int rows : new int[] {1, 4, 16}) {
            double ours = median("linear, " + rows + " rows");
            Figures.atLeast("kernels.linear-" + rows + "-vs-libtorch", median("linear, " + rows + " rows (libtorch)") / ours, 1);
            Figures.atLeast("kernels.linear-" + rows + "-tiled-vs-plain", ours / median("linear, " + rows + " rows, tiled"), 0.95);
        }
        for (String name : List.of("attention", "attention backward")) {
            Figures.atLeast("kernels." + name.replace(' ', '-') + "-vs-libtorch", median(name + " (libtorch)") / median(name), 1);
        }
        Figures.atLeast("kernels.linear-1-of-copy-bandwidth", 2.0 * FEED_FORWARD * HIDDEN / median("linear, 1 rows") / bandwidth, 0.85);
    }

    private double median(String name) {
        return cases.stream().filter(each -> each.name().equals(name)).findFirst().orElseThrow().median();
    }
}
