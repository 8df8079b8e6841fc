package io.inlay.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * {@code ./inlay bench first [ROUNDS]}: SMT against Inlay's and PyTorch's full fine-tuning and PEFT's LoRA, decoding and prefill against
 * transformers. Every contender is a process that keeps its model; rounds alternate between them, one running at a time, and medians of
 * the rounds are compared. The first round warms up and is not counted.
 */
final class FirstBench {

    private static final int ROUNDS = 7;
    private static final int SEQUENCES = 8;
    private static final int BATCHES = 2;
    private static final int VOCABULARY = 32000;

    private FirstBench() {
    }

    /** What was measured of one contender. */
    private record Measured(List<Double> seconds, List<Double> rates, long peak) {

        double median() {
            return Figures.median(seconds);
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        int rounds = arguments.length > 0 ? Integer.parseInt(arguments[0]) : ROUNDS;
        Files.createDirectories(Path.of("target"));
        Path checkpoint = BenchModels.llama107m();
        Path batches = Batches.write(Path.of("target/bench-batches.json"), BATCHES, SEQUENCES, VOCABULARY);
        String python = python();
        Map<String, Measured> training = new LinkedHashMap<>();
        Map<String, Measured> generation = new LinkedHashMap<>();
        long trained;
        try (PeerProcess smt = ours("smt", checkpoint, batches)) {
            trained = smt.ready().get("trained").asLong();
            Map<String, PeerProcess> contenders = new LinkedHashMap<>();
            contenders.put("Inlay SMT", smt);
            contenders.put("Inlay full", ours("full", checkpoint, batches));
            if (python != null) {
                contenders.put("PyTorch full", theirs(python, "full", checkpoint, batches, trained));
                contenders.put("PEFT LoRA", theirs(python, "lora", checkpoint, batches, trained));
            }
            alternate(contenders, rounds, training);
        }
        Map<String, PeerProcess> contenders = new LinkedHashMap<>();
        for (String mode : List.of("decode", "prefill")) {
            contenders.put("Inlay " + mode, ours(mode, checkpoint, batches));
            if (python != null) {
                contenders.put("transformers " + mode, theirs(python, mode, checkpoint, batches, 0));
            }
        }
        alternate(contenders, rounds, generation);
        print(training, generation, trained, rounds);
        bars(training, generation);
    }

    private static void alternate(Map<String, PeerProcess> contenders, int rounds, Map<String, Measured> measured) {
        try {
            Map<String, List<Double>> seconds = new LinkedHashMap<>();
            Map<String, List<Double>> rates = new LinkedHashMap<>();
            for (int round = 0; round <= rounds; round++) {
                for (Map.Entry<String, PeerProcess> contender : contenders.entrySet()) {
                    PeerProcess.Segment segment = contender.getValue().run();
                    if (round > 0) {
                        seconds.computeIfAbsent(contender.getKey(), _ -> new ArrayList<>()).add(segment.seconds());
                        rates.computeIfAbsent(contender.getKey(), _ -> new ArrayList<>()).add(segment.tokens() / segment.seconds());
                    }
                    System.err.printf(Locale.ROOT, "round %d of %d  %-22s %.3f s%n", round, rounds, contender.getKey(), segment.seconds());
                }
            }
            contenders.forEach((name, process) -> measured.put(name, new Measured(seconds.get(name), rates.get(name), process.peak())));
        } finally {
            contenders.values().forEach(PeerProcess::close);
        }
    }

    private static PeerProcess ours(String mode, Path checkpoint, Path batches) throws IOException {
        return PeerProcess.ours("inlay-" + mode, "1g", Contender.class, mode, checkpoint.toString(), batches.toString());
    }

    private static PeerProcess theirs(String python, String mode, Path checkpoint, Path batches, long trained) throws IOException {
        return new PeerProcess("peer-" + mode, List.of(python, "tests/bench/peers/peer.py", mode, checkpoint.toString(), batches.toString(),
                Long.toString(trained)));
    }

    /** The peers' Python, or null when it cannot be had here. */
    static String python() throws IOException, InterruptedException {
        Process made = new ProcessBuilder("bash", "tests/bench/peers/python.sh").redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String path = new String(made.getInputStream().readAllBytes()).strip();
        return made.waitFor() == 0 ? path : null;
    }

    private static void print(Map<String, Measured> training, Map<String, Measured> generation, long trained, int rounds) {
        System.out.printf(Locale.ROOT, "%nCheckpoint of 107 million parameters, bf16, %d cores; SMT and LoRA train %,d values (LoRA to the nearest "
                + "rank); %d batches of %d sequences with GSM8K's lengths a segment; medians of %d alternating rounds%n%n",
                Runtime.getRuntime().availableProcessors(), trained, BATCHES, SEQUENCES, rounds);
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"", "seconds", "min .. max", "tokens/s", "peak MiB"});
        for (Map<String, Measured> group : List.of(training, generation)) {
            group.forEach((name, each) -> rows.add(new String[] {name, String.format(Locale.ROOT, "%.3f", each.median()),
                    Figures.spread(each.seconds()), String.format(Locale.ROOT, "%.0f", Figures.median(each.rates())),
                    Long.toString(each.peak() >> 20)}));
        }
        Figures.table(rows);
        System.out.println();
    }

    private static void bars(Map<String, Measured> training, Map<String, Measured> generation) {
        double smt = training.get("Inlay SMT").median();
        System.out.printf(Locale.ROOT, "SMT's step takes %.3f of Inlay's full fine-tuning's, its peak memory %.3f%n",
                smt / training.get("Inlay full").median(), (double) training.get("Inlay SMT").peak() / training.get("Inlay full").peak());
        if (!training.containsKey("PyTorch full")) {
            for (String name : List.of("smt-step-vs-torch-full", "smt-step-vs-peft-lora", "smt-memory-vs-torch-full", "smt-memory-vs-peft-lora",
                    "decode-vs-transformers", "prefill-vs-transformers")) {
                Figures.skipped("first." + name, "the peers' Python environment could not be made");
            }
            return;
        }
        Figures.atMost("first.smt-step-vs-torch-full", smt / training.get("PyTorch full").median(), 0.67);
        Figures.atMost("first.smt-step-vs-peft-lora", smt / training.get("PEFT LoRA").median(), 1);
        double memory = training.get("Inlay SMT").peak();
        Figures.atMost("first.smt-memory-vs-torch-full", memory / training.get("PyTorch full").peak(), 1);
        Figures.atMost("first.smt-memory-vs-peft-lora", memory / training.get("PEFT LoRA").peak(), 1);
        Figures.atLeast("first.decode-vs-transformers",
                generation.get("transformers decode").median() / generation.get("Inlay decode").median(), 2);
        Figures.atLeast("first.prefill-vs-transformers",
                generation.get("transformers prefill").median() / generation.get("Inlay prefill").median(), 1);
    }
}
