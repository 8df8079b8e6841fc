package io.inlay.bench;

import io.inlay.delta.CodecSizes;
import io.inlay.delta.CodecSpeed;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.Deltas;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * {@code ./inlay bench store}: what deltas weigh (of real tuning runs of 107 million parameters, and synthetic ones), how fast the codec is
 * on one core (JMH), how long 863 blocks take from a file, and what 100,000 switches leave behind.
 */
final class StoreBench {

    private static final int ROUNDS = 7;
    private static final Map<String, Double> SYNTHETIC = new TreeMap<>(Map.of("synthetic, 1e-4", 1e-4, "synthetic, 3e-4", 3e-4,
            "synthetic, 6e-4", 6e-4, "synthetic, 2e-3", 2e-3));

    private StoreBench() {
    }

    public static void main(String[] arguments) throws IOException, InterruptedException, RunnerException {
        sizes();
        speed();
        loads();
        switches();
        StoreScaleBench.main(new String[0]);
    }

    private static void sizes() throws IOException {
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"bytes a value", "values", "Inlay", "XOR, split, zstd", "of it", "entropy"});
        CodecSizes longest = null;
        double worst = 0;
        if (TunedDeltas.available()) {
            try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), BenchModels.llama107m(), ModelOptions.defaults());
                    Arena arena = Arena.ofShared()) {
                for (TunedDeltas.Run run : TunedDeltas.RUNS) {
                    DeltaFile.Decoded delta = TunedDeltas.of(run, model, arena);
                    CodecSizes sizes = CodecSizes.of(delta.blocks(), model);
                    rows.add(row("tuned, " + run.name() + " (" + run.steps() + " steps, " + run.learningRate() + ")", sizes));
                    longest = run.equals(TunedDeltas.LONG) ? sizes : longest;
                    worst = run.steps() == TunedDeltas.LONG.steps() ? Math.max(worst, sizes.ours() / sizes.xorSplit()) : worst;
                }
            }
        }
        for (Map.Entry<String, Double> each : SYNTHETIC.entrySet()) {
            try (Arena arena = Arena.ofShared()) {
                Deltas base = new Deltas(arena, 1).with("w", 1024, 1024);
                List<TensorBlocks> blocks = List.of(base.tuned("w", 256, 16, each.getValue()));
                rows.add(row(each.getKey(), CodecSizes.of(blocks, base)));
            }
        }
        Figures.table(rows);
        System.out.println();
        if (longest == null) {
            Figures.skipped("store.bytes-per-value", "../shared/data/gsm8k is not there to train on");
            Figures.skipped("store.size-vs-xor-split", "../shared/data/gsm8k is not there to train on");
        } else {
            Figures.atMost("store.bytes-per-value", longest.ours(), 0.75);
            Figures.atMost("store.size-vs-xor-split", worst, 0.92);
        }
    }

    private static String[] row(String name, CodecSizes sizes) {
        return new String[] {name, String.format(Locale.ROOT, "%,d", sizes.values()), shown(sizes.ours()), shown(sizes.xorSplit()),
                shown(sizes.ours() / sizes.xorSplit()), shown(sizes.entropy())};
    }

    private static String shown(double value) {
        return String.format(Locale.ROOT, "%.3f", value);
    }

    /** The bars are held by the slowest of the four kinds of deltas. */
    private static void speed() throws RunnerException {
        Collection<RunResult> results = new Runner(new OptionsBuilder().include(CodecSpeed.class.getName()).verbosity(VerboseMode.SILENT)
                .jvmArgsAppend("-Xmx1g").build()).run();
        Map<String, Map<String, Double>> rates = new TreeMap<>();
        for (RunResult result : results) {
            double rate = CodecSpeed.BYTES / result.getPrimaryResult().getScore();
            rates.computeIfAbsent(result.getParams().getParam("spread"), _ -> new TreeMap<>()).put(result.getPrimaryResult().getLabel(), rate);
        }
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"MB/s of raw bf16, one core", "encode", "decode"});
        rates.forEach((spread, each) -> rows.add(new String[] {"synthetic, " + spread, String.format(Locale.ROOT, "%.0f", each.get("encode")),
                String.format(Locale.ROOT, "%.0f", each.get("decode"))}));
        Figures.table(rows);
        System.out.println();
        Figures.atLeast("store.encode-mb-s", slowest(rates, "encode"), 300);
        Figures.atLeast("store.decode-mb-s", slowest(rates, "decode"), 400);
    }

    private static double slowest(Map<String, Map<String, Double>> rates, String label) {
        return rates.values().stream().mapToDouble(each -> each.get(label)).min().orElseThrow();
    }

    private static void loads() throws IOException, InterruptedException {
        ColdLoad.Seconds seconds = ColdLoad.measure(ROUNDS);
        System.out.printf(Locale.ROOT, "%n863 blocks of edge 256 in a file of %.1f MB: cached %s s, from the disk %s s; medians of %d%n%n",
                seconds.fileBytes() / 1e6, Figures.spread(seconds.cached()), seconds.cold().isEmpty() ? "-" : Figures.spread(seconds.cold()),
                ROUNDS);
        if (seconds.cold().isEmpty()) {
            Figures.skipped("store.cold-load-s", "dd could not drop the file from the page cache");
        } else {
            Figures.atMost("store.cold-load-s", Figures.median(seconds.cold()), 0.5);
        }
        Figures.atMost("store.cached-load-s", Figures.median(seconds.cached()), 0.25);
    }

    private static void switches() throws IOException {
        SwitchBench.Measured measured = SwitchBench.measure();
        System.out.printf(Locale.ROOT, "%n100,000 switches among 1,000 deltas of one base: %,d loads, %.1f s%n%n", measured.loads(),
                measured.seconds());
        Figures.atLeast("store.switches-base-digest", measured.untouched() ? 1 : 0, 1);
        Figures.atMost("store.switches-rss-growth-mib", measured.growthMib(), 64);
    }
}
