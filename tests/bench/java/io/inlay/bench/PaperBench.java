package io.inlay.bench;

import io.inlay.bench.PaperTrial.Setting;
import io.inlay.bench.PaperTrial.Trained;
import io.inlay.model.Projection;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningMethod.LowRank;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * {@code ./inlay bench paper [--quick] [--page FOLDER]}: the SMT paper's comparisons on the embedded model and the demonstration's task, cut
 * short so that there is room between bad and perfect. Table 3: methods by share of parameters, each at its own best learning rate of a
 * grid, found on a seed that is not compared. Tables 4 and 6: what is tuned, attention or feed-forward, and which of q, k and v, at SMT's
 * rate of table 3. Figures 4 and 5: where the selected blocks lie. Writes a page with tables and plots. Nothing is adjusted to agree.
 */
final class PaperBench {

    private static final double[] SHARES = {0.0043, 0.0084, 0.0126, 0.025, 0.0373, 0.0491};
    private static final double[] QUICK_SHARES = {0.0084, 0.0491};
    private static final double TABLE_SHARE = 0.0084;
    private static final int EDGE = 32;
    private static final Set<Projection> FEED_FORWARD = EnumSet.of(Projection.GATE, Projection.UP, Projection.DOWN);

    /** How much is done. */
    private record Extent(double[] shares, int seeds, int steps, double[] exponents) {
    }

    private final PaperTrial trial;
    private final Extent extent;
    private final PaperPage page;

    private PaperBench(PaperTrial trial, Extent extent, PaperPage page) {
        this.trial = trial;
        this.extent = extent;
        this.page = page;
    }

    public static void main(String[] arguments) throws IOException {
        List<String> options = Arrays.asList(arguments);
        boolean quick = options.contains("--quick");
        Path folder = options.contains("--page") ? Path.of(options.get(options.indexOf("--page") + 1)) : Path.of("target/paper");
        Files.createDirectories(folder);
        Extent extent = quick ? new Extent(QUICK_SHARES, 2, 80, new double[] {0.5, 2.5})
                : new Extent(SHARES, 5, 200, new double[] {-1, 0, 1, 2, 3});
        try (PaperTrial trial = PaperTrial.open(extent.steps())) {
            new PaperBench(trial, extent, new PaperPage(folder, quick)).run();
        }
    }

    private void run() throws IOException {
        long started = System.nanoTime();
        page.begin(trial.description(), extent.seeds(), trial.base(extent.seeds()));
        Map<String, List<Result>> byMethod = table3();
        page.table3(byMethod);
        List<Result> smt = byMethod.get("SMT");
        Result attention = smt.get(index(TABLE_SHARE));
        page.table("Table 4: what is tuned", "targets at " + percent(TABLE_SHARE), table4(attention));
        page.table("Table 6: which of q, k and v", "targets at " + percent(TABLE_SHARE), table6(attention));
        for (Result result : List.of(smt.getFirst(), smt.getLast())) {
            page.selection(percent(result.share()), result.runs().getFirst().selection().orElseThrow());
        }
        page.end((System.nanoTime() - started) / 1e9);
        List<Result> random = byMethod.get("random blocks");
        List<Result> lora = byMethod.get("LoRA");
        List<Result> dora = byMethod.get("DoRA");
        double full = byMethod.get("full").getFirst().accuracy();
        System.out.println("page: " + page.file());
        for (int i = 0; i < smt.size(); i++) {
            String share = String.format(Locale.ROOT, "%.2f", 100 * extent.shares()[i]);
            Figures.atLeast("paper.smt-minus-random-points-at-" + share, smt.get(i).accuracy() - random.get(i).accuracy(), 0);
            Figures.atLeast("paper.smt-minus-lora-points-at-" + share, smt.get(i).accuracy() - lora.get(i).accuracy(), 0);
            Figures.atLeast("paper.smt-minus-dora-points-at-" + share, smt.get(i).accuracy() - dora.get(i).accuracy(), 0);
        }
        Figures.atLeast("paper.smt-minus-full-points", smt.getLast().accuracy() - full, -2);
    }

    private int index(double share) {
        return IntStream.range(0, extent.shares().length).filter(i -> extent.shares()[i] == share).findFirst().orElseThrow();
    }

    /** One line of a table. */
    record Result(String name, double rate, double share, List<Trained> runs) {

        Result named(String other) {
            return new Result(other, rate, share, runs);
        }

        double accuracy() {
            return runs.stream().mapToDouble(Trained::accuracy).average().orElseThrow();
        }

        double loss() {
            return runs.stream().mapToDouble(Trained::loss).average().orElseThrow();
        }

        double spread() {
            double mean = accuracy();
            return Math.sqrt(runs.stream().mapToDouble(run -> (run.accuracy() - mean) * (run.accuracy() - mean)).sum()
                    / Math.max(1, runs.size() - 1));
        }
    }

    private Map<String, List<Result>> table3() throws IOException {
        Map<String, List<Result>> results = new LinkedHashMap<>();
        results.put("full", List.of(best("full", 3e-4, new TuningMethod.FullFineTuning())));
        for (double share : extent.shares()) {
            add(results, "SMT", best("SMT " + percent(share), 1e-3, smt(share, TuningMethod.ATTENTION)));
            add(results, "random blocks", best("random blocks " + percent(share), 1e-3,
                    new TuningMethod.RandomBlocks(share, OptionalInt.of(EDGE), TuningMethod.ATTENTION)));
            add(results, "LoRA", best("LoRA " + percent(share), 2e-3, lowRank(LowRank.Kind.LORA, share)));
            add(results, "DoRA", best("DoRA " + percent(share), 2e-3, lowRank(LowRank.Kind.DORA, share)));
        }
        return results;
    }

    private static void add(Map<String, List<Result>> results, String method, Result result) {
        results.computeIfAbsent(method, _ -> new ArrayList<>()).add(result);
    }

    private List<Result> table4(Result attention) throws IOException {
        List<Result> results = new ArrayList<>();
        double rate = attention.rate();
        results.add(attention.named("attention: q k v"));
        results.add(at("feed-forward: gate up down", rate, smt(TABLE_SHARE, FEED_FORWARD)));
        results.add(at("half and half, two rankings", rate, new TuningMethod.Smt(TABLE_SHARE, OptionalInt.of(EDGE),
                EnumSet.complementOf(EnumSet.of(Projection.O)), PaperTrial.WARM_UP, TuningMethod.Score.MEAN_ABS_SUM,
                new TuningMethod.Strategy.Pools(0.5))));
        results.add(at("all seven in one ranking", rate, smt(TABLE_SHARE, EnumSet.allOf(Projection.class))));
        return results;
    }

    private List<Result> table6(Result attention) throws IOException {
        List<Result> results = new ArrayList<>();
        for (Projection projection : List.of(Projection.K, Projection.Q, Projection.V)) {
            results.add(at(projection.name().toLowerCase(Locale.ROOT) + " only", attention.rate(), smt(TABLE_SHARE, EnumSet.of(projection))));
        }
        results.add(attention.named("q k v"));
        return results;
    }

    /** The grid of powers of 2 times {@code unit}, on the seed of the search; then every seed at the best rate. */
    private Result best(String name, double unit, TuningMethod method) throws IOException {
        double chosen = unit;
        Trained top = null;
        for (double exponent : extent.exponents()) {
            double rate = unit * Math.pow(2, exponent);
            Trained tried = trial.run(new Setting(method, rate), PaperTrial.SEARCH_SEED);
            if (top == null || tried.loss() < top.loss()) {
                top = tried;
                chosen = rate;
            }
        }
        return at(name, chosen, method);
    }

    private Result at(String name, double rate, TuningMethod method) throws IOException {
        List<Trained> runs = new ArrayList<>();
        for (int seed = 1; seed <= extent.seeds(); seed++) {
            runs.add(trial.run(new Setting(method, rate), seed));
        }
        Result result = new Result(name, rate, runs.getFirst().share(), runs);
        System.out.printf(Locale.ROOT, "%-28s %5.2f %% of parameters, rate %.1e: accuracy %5.1f +- %.1f %%, held-out loss %.4f, %.0f s a run%n", name,
                100 * result.share(), rate, result.accuracy(), result.spread(), result.loss(), runs.getLast().seconds());
        return result;
    }

    private static TuningMethod smt(double share, Set<Projection> targets) {
        return new TuningMethod.Smt(share, OptionalInt.of(EDGE), targets, PaperTrial.WARM_UP, TuningMethod.Score.MEAN_ABS_SUM,
                new TuningMethod.Strategy.Global());
    }

    /** The rank whose adapters have about that share of the model's parameters, alpha twice the rank, as both papers have it. */
    private TuningMethod lowRank(LowRank.Kind kind, double share) {
        int rank = Math.max(1, (int) Math.round(share * trial.parameters() / trial.valuesPerRank(LowRank.DEFAULT_TARGETS)));
        return new LowRank(kind, rank, 2.0 * rank, 0.05, LowRank.DEFAULT_TARGETS);
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.2f %%", 100 * share);
    }
}
