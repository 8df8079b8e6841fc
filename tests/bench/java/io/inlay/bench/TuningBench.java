package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * {@code ./inlay bench tuning [--rounds N] [--peers lora,full,dora] [--profile]}: a step of Sparse Matrix Tuning on Llama-3.2-1B's shape (random weights, bf16,
 * batches of 8 with GSM8K's lengths) beside PEFT's LoRA and DoRA and PyTorch's full fine-tuning, one pair at a time because three such
 * models do not fit into memory together; then its share of the GEMM floor, what more blocks cost, and how time grows with tokens. Useful
 * tokens count: prompt and answer, padding not.
 */
final class TuningBench {

    private static final int ROUNDS = 5;
    private static final int SEQUENCES = 8;
    private static final int BATCHES = 1;
    private static final int VOCABULARY = 128256;
    private static final double FEW = 0.001;
    private static final double MANY = 0.05;
    private static final int[] TOKENS = {256, 512, 1024, 2048, 4096};
    private static final int SHOWN = 24;
    /** Against each of these in turn; {@code --peers} names some of them. */
    private static final List<String> PEERS = List.of("lora", "full", "dora");

    private final int rounds;
    private final Path checkpoint;
    private final Path batches;
    private final List<String[]> rows = new ArrayList<>();

    private TuningBench(int rounds) throws IOException {
        this.rounds = rounds;
        this.checkpoint = BenchModels.llama1b();
        this.batches = Batches.write(Path.of("target/bench-tuning-batches.json"), BATCHES, SEQUENCES, VOCABULARY);
        rows.add(new String[] {"", "seconds", "min .. max", "useful tokens/s", "peak MiB", "SMT against it"});
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        List<String> options = Arrays.asList(arguments);
        int rounds = options.contains("--rounds") ? Integer.parseInt(options.get(options.indexOf("--rounds") + 1)) : ROUNDS;
        Files.createDirectories(Path.of("target"));
        List<String> peers = options.contains("--peers") ? List.of(options.get(options.indexOf("--peers") + 1).split(",")) : PEERS;
        new TuningBench(rounds).run(peers, options.contains("--profile"));
    }

    /** SMT and one peer in turns: medians, and the ratio of times round by round. */
    private record Pair(double faster, double memory) {
    }

    private void run(List<String> peers, boolean profile) throws IOException, InterruptedException {
        String python = FirstBench.python();
        Pair lora = null;
        Pair full = null;
        double floor;
        try (PeerProcess smt = ours(Contender.BUDGET)) {
            if (python != null) {
                lora = peers.contains("lora") ? against(smt, "PEFT LoRA", python, "lora") : null;
                full = peers.contains("full") ? against(smt, "PyTorch full", python, "full") : null;
                if (peers.contains("dora")) {
                    against(smt, "PEFT DoRA", python, "dora");
                }
            }
            floor = floor(smt);
            if (profile) {
                profile(smt);
            }
        }
        double cost = costOfBlocks();
        double growth = growth();
        System.out.printf(Locale.ROOT, "%nLlama-3.2-1B's shape, bf16, %d cores, batch of %d with GSM8K's lengths; medians of %d alternating rounds%n%n",
                Runtime.getRuntime().availableProcessors(), SEQUENCES, rounds);
        Figures.table(rows);
        System.out.println();
        SelectionBench.measure();
        if (lora == null || full == null) {
            for (String name : List.of("smt-vs-peft-lora", "smt-vs-torch-full", "memory-vs-peft-lora", "memory-vs-torch-full")) {
                Figures.skipped("tuning." + name, python == null ? "the peers' Python environment could not be made" : "not among --peers");
            }
        } else {
            Figures.atLeast("tuning.smt-vs-peft-lora", lora.faster(), 1.4);
            Figures.atLeast("tuning.smt-vs-torch-full", full.faster(), 1.8);
            Figures.atMost("tuning.memory-vs-peft-lora", lora.memory(), 0.55);
            Figures.atMost("tuning.memory-vs-torch-full", full.memory(), 0.38);
        }
        Figures.atLeast("tuning.share-of-gemm-floor", floor, 0.75);
        Figures.atMost("tuning.step-5-percent-vs-0.1-percent", cost, 1.15);
        Figures.atMost("tuning.seconds-per-token-at-4096-vs-256", growth, 1.1);
    }

    private Pair against(PeerProcess smt, String name, String python, String mode) throws IOException {
        List<Double> ours = new ArrayList<>();
        List<Double> theirs = new ArrayList<>();
        List<Double> ratios = new ArrayList<>();
        int tokens = 0;
        try (PeerProcess peer = new PeerProcess("peer-" + mode, List.of(python, "tests/bench/peers/peer.py", mode, checkpoint.toString(),
                batches.toString(), Long.toString(smt.ready().get("trained").asLong())))) {
            for (int round = 0; round <= rounds; round++) {
                PeerProcess.Segment mine = smt.run();
                PeerProcess.Segment his = peer.run();
                System.err.printf(Locale.ROOT, "round %d of %d  Inlay SMT %.2f s  %s %.2f s%n", round, rounds, mine.seconds(), name,
                        his.seconds());
                if (round > 0) {
                    ours.add(mine.seconds());
                    theirs.add(his.seconds());
                    ratios.add(his.seconds() / mine.seconds());
                    tokens = mine.tokens();
                }
            }
            double faster = Figures.median(ratios);
            long peak = smt.peak();
            row("Inlay SMT", ours, tokens, peak, "");
            row(name + ", " + String.format(Locale.ROOT, "%,d trained", peer.ready().get("trained").asLong()), theirs, tokens, peer.peak(),
                    String.format(Locale.ROOT, "%.2f x", faster));
            return new Pair(faster, (double) peak / peer.peak());
        }
    }

    private void row(String name, List<Double> seconds, int tokens, long peak, String ratio) {
        rows.add(new String[] {name, String.format(Locale.ROOT, "%.2f", Figures.median(seconds)), Figures.spread(seconds),
                String.format(Locale.ROOT, "%.1f", tokens / Figures.median(seconds)), Long.toString(peak >> 20), ratio});
    }

    /** The floor is measured beside every step, since the machine's speed drifts. */
    private double floor(PeerProcess smt) {
        List<Double> shares = new ArrayList<>();
        JsonNode floor = null;
        for (int round = 0; round <= rounds; round++) {
            double seconds = smt.run().seconds();
            floor = smt.ask("floor");
            if (round > 0) {
                shares.add(floor.get("seconds").asDouble() / seconds);
            }
        }
        System.out.printf(Locale.ROOT, "floor: %.2f 10^12 operations at %.0f 10^9 a second of libtorch's bf16 GEMM on the layer's shapes: %.2f s; "
                + "shares of a step %s%n", floor.get("operations").asLong() / 1e12, floor.get("gflops").asDouble(),
                floor.get("seconds").asDouble(), Figures.spread(shares));
        return Figures.median(shares);
    }

    private static void profile(PeerProcess smt) {
        JsonNode profile = smt.ask("profile");
        double all = profile.get("seconds").asDouble();
        double known = 0;
        List<String[]> lines = new ArrayList<>();
        lines.add(new String[] {"operation", "calls", "seconds", "share", "GB/s", "GFLOP/s"});
        for (JsonNode entry : profile.get("entries")) {
            double seconds = entry.get("seconds").asDouble();
            known += seconds;
            if (lines.size() <= SHOWN) {
                lines.add(new String[] {entry.get("operation").asText(), entry.get("calls").asText(), String.format(Locale.ROOT, "%.3f", seconds),
                        String.format(Locale.ROOT, "%.1f %%", 100 * seconds / all), String.format(Locale.ROOT, "%.1f",
                        entry.get("bytes").asLong() / seconds / 1e9), String.format(Locale.ROOT, "%.0f", entry.get("operations").asLong() / seconds / 1e9)});
            }
        }
        lines.add(new String[] {"(between operations)", "", String.format(Locale.ROOT, "%.3f", all - known),
                String.format(Locale.ROOT, "%.1f %%", 100 * (all - known) / all), "", ""});
        System.out.printf(Locale.ROOT, "%nOne step, %.2f s, where it goes:%n", all);
        Figures.table(lines);
    }

    private double costOfBlocks() throws IOException {
        List<Double> ratios = new ArrayList<>();
        try (PeerProcess few = ours(FEW); PeerProcess many = ours(MANY)) {
            for (int round = 0; round <= rounds; round++) {
                double cheap = few.run().seconds();
                double dear = many.run().seconds();
                if (round > 0) {
                    ratios.add(dear / cheap);
                }
            }
        }
        System.out.printf(Locale.ROOT, "%na step with 5 %% of parameters in blocks takes %.3f of one with 0.1 %% (%s)%n", Figures.median(ratios),
                Figures.spread(ratios));
        return Figures.median(ratios);
    }

    /** Seconds a token at the most tokens against the fewest; prints the curve. */
    private double growth() throws IOException {
        double[] medians = new double[TOKENS.length];
        try (PeerProcess smt = ours(Contender.BUDGET)) {
            List<List<Double>> seconds = new ArrayList<>();
            Arrays.stream(TOKENS).forEach(_ -> seconds.add(new ArrayList<>()));
            smt.ask("tokens " + TOKENS[0]);
            for (int round = 1; round <= Math.max(1, rounds / 2); round++) {
                for (int i = 0; i < TOKENS.length; i++) {
                    seconds.get(i).add(smt.ask("tokens " + TOKENS[i]).get("seconds").asDouble());
                }
            }
            Arrays.setAll(medians, i -> Figures.median(seconds.get(i)));
        }
        System.out.printf(Locale.ROOT, "%ntokens a step, sequences of 256: seconds, milliseconds a token%n");
        for (int i = 0; i < TOKENS.length; i++) {
            System.out.printf(Locale.ROOT, "%6d  %7.2f  %6.2f%n", TOKENS[i], medians[i], 1000 * medians[i] / TOKENS[i]);
        }
        int last = TOKENS.length - 1;
        return medians[last] / TOKENS[last] / (medians[0] / TOKENS[0]);
    }

    private PeerProcess ours(double budget) throws IOException {
        return PeerProcess.ours("inlay-smt-" + budget, "512m", TuningContender.class, checkpoint.toString(), batches.toString(),
                Double.toString(budget));
    }
}
