package io.inlay.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.function.DoubleUnaryOperator;

/**
 * {@code ./inlay bench serving [ROUNDS [engine] [tenants] [http]]}: decoding and prefill at Llama-3.2-1B's shape in bf16 beside llama.cpp and transformers, many
 * tenants in a batch beside one, a delta beside the base, all in turns; then a thousand tenants, the server over HTTP, and its start.
 */
final class ServingBench {

    private static final int ROUNDS = 3;
    private static final List<String> PARTS = List.of("engine", "tenants", "http");
    private static final long PARAMETERS = 1_235_814_400L;
    private static final String SHAPE = "Llama-3.2-1B's shape, 1.24 billion parameters, bf16";

    private final Map<String, List<Double>> figures = new LinkedHashMap<>();
    private final Map<String, DoubleSupplier> contenders = new LinkedHashMap<>();

    private ServingBench() {
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        int rounds = arguments.length > 0 ? Integer.parseInt(arguments[0]) : ROUNDS;
        Files.createDirectories(Path.of("target"));
        List<String> parts = arguments.length > 1 ? List.of(arguments).subList(1, arguments.length) : PARTS;
        if (!PARTS.containsAll(parts)) {
            System.err.println("serving has the parts " + String.join(", ", PARTS) + "; asked for were " + String.join(", ", parts));
            System.exit(2);
        }
        if (parts.contains("engine")) {
            new ServingBench().run(rounds);
        }
        if (parts.contains("tenants")) {
            ZipfBench.main(new String[0]);
        }
        if (parts.contains("http")) {
            HttpBench.main(new String[] {Integer.toString(rounds)});
        }
    }

    private void run(int rounds) throws IOException, InterruptedException {
        Path checkpoint = BenchModels.llama1b();
        String python = FirstBench.python();
        LlamaCpp llamaCpp = LlamaCpp.make(checkpoint, python);
        List<PeerProcess> processes = new ArrayList<>();
        try {
            PeerProcess ours = started(processes, engine(checkpoint));
            add("read bandwidth, bytes/s", () -> ours.ask("bandwidth").get("rate").asDouble());
            add("libtorch's products of a prefill, s", () -> ours.ask("gemm").get("seconds").asDouble());
            add("1 stream, tokens/s", () -> rate(ours, 1, 0));
            add("1 stream through a delta", () -> rate(ours, 1, 1));
            add("16 streams of the base", () -> rate(ours, 16, 0));
            add("16 streams of one delta", () -> rate(ours, 16, 1));
            add("16 streams of 16 tenants", () -> rate(ours, 16, 16));
            add("first token after 512, s", () -> ours.ask("first 0").get("seconds").asDouble());
            add("first token after 512, through a delta", () -> ours.ask("first 16").get("seconds").asDouble());
            if (python != null) {
                PeerProcess decode = started(processes, theirs(python, "decode", checkpoint));
                PeerProcess prefill = started(processes, theirs(python, "prefill", checkpoint));
                PeerProcess mixed = started(processes, theirs(python, "mixed", checkpoint));
                add("transformers, 1 stream, tokens/s", () -> rate(decode.run()));
                add("transformers, prefill of 512, s", () -> 512 / rate(prefill.run()));
                add("PEFT, 16 streams of 16 LoRA adapters", () -> rate(mixed.run()));
            }
            if (llamaCpp != null) {
                add("llama.cpp, 1 stream, tokens/s", llamaCpp::decode);
                add("llama.cpp, prefill of 512, s", llamaCpp::prefill);
                add("llama.cpp, 16 streams, tokens/s", llamaCpp::batch);
            }
            for (int round = 0; round <= rounds; round++) {
                for (Map.Entry<String, DoubleSupplier> each : contenders.entrySet()) {
                    double value = each.getValue().getAsDouble();
                    if (round > 0) {
                        figures.computeIfAbsent(each.getKey(), _ -> new ArrayList<>()).add(value);
                    }
                    System.err.printf(Locale.ROOT, "round %d of %d  %-42s %.4g%n", round, rounds, each.getKey(), value);
                }
            }
            var switched = ours.ask("switch");
            print(rounds, switched.get("seconds").asDouble(), switched.get("bytes").asLong());
            bars(ours.ask("bytes").get("bytes").asDouble(), switched.get("seconds").asDouble());
        } finally {
            processes.forEach(PeerProcess::close);
        }
    }

    private static PeerProcess started(List<PeerProcess> processes, PeerProcess process) {
        processes.add(process);
        return process;
    }

    private void add(String name, DoubleSupplier measure) {
        contenders.put(name, measure);
    }

    private static double rate(PeerProcess ours, int streams, int tenants) {
        return ours.ask("streams " + streams + " " + tenants).get("rate").asDouble();
    }

    private static double rate(PeerProcess.Segment segment) {
        return segment.tokens() / segment.seconds();
    }

    private static PeerProcess theirs(String python, String mode, Path checkpoint) throws IOException {
        Path batches = Batches.write(Path.of("target/bench-batches.json"), 1, 1, 1000);
        return new PeerProcess("peer-" + mode, List.of(python, "tests/bench/peers/peer.py", mode, checkpoint.toString(), batches.toString(),
                Long.toString((long) (Contender.BUDGET * PARAMETERS))));
    }

    /** The engine without HTTP. */
    static PeerProcess engine(Path checkpoint) throws IOException {
        return PeerProcess.ours("inlay-serving", "1g", ServingContender.class, checkpoint.toString(),
                BenchModels.cache().resolve("serving-store").toString());
    }

    private void print(int rounds, double switching, long allocated) {
        System.out.printf(Locale.ROOT, "%n%s, %d cores; deltas of 0.84 %% of all parameters; medians of %d alternating rounds%n%n", SHAPE,
                Runtime.getRuntime().availableProcessors(), rounds);
        List<String[]> rows = new ArrayList<>();
        rows.add(new String[] {"", "median", "min .. max"});
        figures.forEach((name, values) -> rows.add(new String[] {name, String.format(Locale.ROOT, "%.4g", Figures.median(values)),
                Figures.spread(values)}));
        Figures.table(rows);
        System.out.printf(Locale.ROOT, "%na switch to a resident delta takes %.2f microseconds and %d bytes on the heap, none beside it%n%n",
                switching * 1e6, allocated);
    }

    private double median(String name) {
        return Figures.median(figures.get(name));
    }

    private void bars(double bytes, double switching) {
        double one = median("1 stream, tokens/s");
        double many = median("16 streams of one delta");
        double first = median("first token after 512, s");
        Figures.atLeast("serving.decode-of-bandwidth", one * bytes / median("read bandwidth, bytes/s"), 0.85);
        compare("serving.decode-vs-llama-cpp", "llama.cpp, 1 stream, tokens/s", each -> one / each, 1, "llama.cpp could not be built");
        compare("serving.decode-vs-transformers", "transformers, 1 stream, tokens/s", each -> one / each, 2, "there is no Python environment");
        Figures.atLeast("serving.prefill-of-gemm", median("libtorch's products of a prefill, s") / first, 0.88);
        compare("serving.prefill-vs-llama-cpp", "llama.cpp, prefill of 512, s", each -> each / first, 1.3, "llama.cpp could not be built");
        Figures.atLeast("serving.16-streams-vs-1", median("16 streams of the base") / one, 6);
        Figures.atLeast("serving.16-tenants-vs-1", median("16 streams of 16 tenants") / many, 0.95);
        Figures.atLeast("serving.delta-vs-base", median("1 stream through a delta") / one, 0.99);
        Figures.atMost("serving.delta-first-token-vs-base", median("first token after 512, through a delta") / first, 1.01);
        Figures.atMost("serving.switch-ms", switching * 1e3, 1);
    }

    private void compare(String bar, String peer, DoubleUnaryOperator ratio, double target, String missing) {
        if (figures.containsKey(peer)) {
            Figures.atLeast(bar, ratio.applyAsDouble(median(peer)), target);
        } else {
            Figures.skipped(bar, missing);
        }
    }
}
