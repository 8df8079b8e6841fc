package io.inlay.bench;

import io.inlay.model.LlamaConfig;
import io.inlay.model.Projection;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.DoubleSupplier;

/**
 * The device's speed beside PyTorch, transformers and PEFT, and beside what the card itself can do: {@code DeviceSpeed DEVICE PYTHON}. On a GPU
 * at the shapes of Llama-3-8B (decoding, prefill, deltas) and LLaMA-7B (tuning); on the CPU at a tiny shape, so that all of it is run.
 * Contenders keep their model and take turns; the first round warms up. Whatever was not measured is skipped with its reason.
 */
final class DeviceSpeed {

    /** Of a tiny model's parameters, so many that some blocks are trained. */
    private static final double TINY_SHARE = 0.06;

    /**
     * @param real whether figures mean something
     * @param rounds that count, of decoding and of training steps
     * @param heap of Inlay's side: the deltas of all tenants are encoded at once
     * @param streams of a full batch, of as many tenants
     * @param blocks of a tenant's delta
     * @param sequence tokens of one of the {@code sequences} of a training step
     */
    private record Sizes(boolean real, int rounds, String heap, int streams, int blocks, int prompt, int sequence, int sequences,
            int switches) {

        private static final Sizes REAL = new Sizes(true, 3, "12g", 64, 863, 2048, 512, 16, 100_000);
        private static final Sizes TINY = new Sizes(false, 1, "1g", 4, 4, 300, 32, 2, 1000);
    }

    private final BenchDevice device;
    private final String python;
    private final Sizes sizes;
    private final PeerProcess card;
    private final Set<GpuBar> told = EnumSet.noneOf(GpuBar.class);
    private boolean failed;

    private DeviceSpeed(BenchDevice device, String python) throws IOException {
        this.device = device;
        this.python = python;
        this.sizes = device.device().isCpu() ? Sizes.TINY : Sizes.REAL;
        this.card = card(python, device);
    }

    /** The other side of the floors; see tests/gpu/card.py. */
    static PeerProcess card(String python, BenchDevice device) throws IOException {
        return new PeerProcess("card", List.of(python, "tests/gpu/card.py", device.toString()));
    }

    public static void main(String[] arguments) throws IOException {
        DeviceSpeed speed = new DeviceSpeed(BenchDevice.named(arguments[0]), arguments[1]);
        try (PeerProcess card = speed.card) {
            System.out.println(card.ready().get("device").asText());
            speed.part("speed.serving", EnumSet.range(GpuBar.DECODE_OF_BANDWIDTH, GpuBar.BASE_DIGEST), speed::serving);
            speed.part("speed.tuning", EnumSet.range(GpuBar.MEMORY_AT_BATCH_1, GpuBar.SMT_VS_FULL), speed::tuning);
        }
        System.exit(speed.failed ? 1 : 0);
    }

    private interface Work {
        void run() throws IOException;
    }

    /** Ours must run to its end; what it then has not measured is skipped. */
    private void part(String name, Set<GpuBar> bars, Work work) {
        String reason = "it was not measured";
        try {
            work.run();
            Verdict.of(true, name, "").say();
        } catch (IOException | RuntimeException failure) {
            failure.printStackTrace();
            failed = true;
            reason = name + " failed";
            Verdict.of(false, name, failure.toString().replaceAll("\\s+", " ")).say();
        }
        for (GpuBar bar : bars) {
            if (!told.contains(bar)) {
                skip(bar, reason);
            }
        }
    }

    private void measured(GpuBar bar, double value) {
        told.add(bar);
        bar.measured(value, sizes.real());
    }

    private void skip(GpuBar bar, String reason) {
        told.add(bar);
        Verdict.skipped(bar.title(), reason).say();
    }

    private static void figure(String name, double value, String unit) {
        System.out.printf(Locale.ROOT, "  %-52s %12.5g %s%n", name, value, unit);
    }

    /** Medians of rounds in which all take their turn. */
    private Map<String, Double> rounds(Map<String, DoubleSupplier> measures) {
        Map<String, List<Double>> values = new TreeMap<>();
        for (int round = 0; round <= sizes.rounds(); round++) {
            for (Map.Entry<String, DoubleSupplier> each : measures.entrySet()) {
                double value = each.getValue().getAsDouble();
                if (round > 0) {
                    values.computeIfAbsent(each.getKey(), _ -> new ArrayList<>()).add(value);
                }
            }
        }
        Map<String, Double> medians = new TreeMap<>();
        values.forEach((name, all) -> medians.put(name, Figures.median(all)));
        return medians;
    }

    // ---- serving ----

    private void serving() throws IOException {
        Path checkpoint = sizes.real() ? BenchModels.llama8b() : BenchModels.llama5m();
        LlamaConfig config = LlamaConfig.parse(checkpoint);
        double bandwidth = card.ask("bandwidth").get("rate").asDouble();
        double floor = prefillFloor(config);
        figure("the card reads or copies", bandwidth / 1e9, "GB/s");
        figure("libtorch's products of a prefill of " + sizes.prompt(), floor, "s");
        try (PeerProcess ours = PeerProcess.ours("inlay-serving", sizes.heap(), ServingContender.class, checkpoint.toString(),
                BenchModels.cache().resolve("device-store-" + checkpoint.getFileName()).toString(), device.toString(),
                Integer.toString(sizes.streams()), Integer.toString(sizes.blocks()))) {
            Map<String, DoubleSupplier> measures = new TreeMap<>();
            measures.put("one", () -> ours.ask("streams 1 0").get("rate").asDouble());
            measures.put("many", () -> ours.ask("streams " + sizes.streams() + " 1").get("rate").asDouble());
            measures.put("mixed", () -> ours.ask("streams " + sizes.streams() + " " + sizes.streams()).get("rate").asDouble());
            measures.put("prefill", () -> ours.ask("first 0 " + sizes.prompt()).get("seconds").asDouble());
            Map<String, Double> medians = rounds(measures);
            figure("decode, 1 stream", medians.get("one"), "tokens/s");
            figure("decode, " + sizes.streams() + " streams of one tenant", medians.get("many"), "tokens/s");
            figure("decode, " + sizes.streams() + " streams of as many tenants", medians.get("mixed"), "tokens/s");
            figure("first token after " + sizes.prompt(), medians.get("prefill"), "s");
            measured(GpuBar.DECODE_OF_BANDWIDTH, medians.get("one") * bytesOfAToken(config) / bandwidth);
            measured(GpuBar.TENANTS_VS_ONE, medians.get("mixed") / medians.get("many"));
            measured(GpuBar.PREFILL_OF_GEMM, floor / medians.get("prefill"));
            againstTransformers(ours, checkpoint);
            deltas(ours);
        }
    }

    /** Weights that one token reads: all but the embedding, of which it reads a row, unless that is the head too. */
    private static double bytesOfAToken(LlamaConfig config) {
        long embedding = config.tiedEmbeddings() ? 0 : (long) config.vocabularySize() * config.hiddenSize();
        return 2.0 * (config.parameterCount() - embedding);
    }

    /** All layers' products; of the last layer only keys and values are needed for all positions. */
    private double prefillFloor(LlamaConfig config) {
        Map<String, Double> seconds = new TreeMap<>();
        double sum = 0;
        for (Projection projection : Projection.values()) {
            long[] shape = config.shape(projection);
            boolean everywhere = projection == Projection.K || projection == Projection.V;
            sum += (everywhere ? config.layers() : config.layers() - 1) * seconds.computeIfAbsent(shape[0] + " " + shape[1],
                    size -> card.ask("gemm " + sizes.prompt() + " " + size).get("seconds").asDouble());
        }
        return sum;
    }

    private void againstTransformers(PeerProcess ours, Path checkpoint) throws IOException {
        Path batches = Batches.write(Path.of("target", "bench-batches.json"), 1, 1, 1000);
        try (PeerProcess peer = theirs("decode", checkpoint, batches, 0)) {
            Map<String, Double> medians = rounds(Map.of("inlay", () -> ours.ask("streams 1 0").get("rate").asDouble(), "peer", () -> {
                PeerProcess.Segment segment = peer.run();
                return segment.tokens() / segment.seconds();
            }));
            figure("transformers, 1 stream", medians.get("peer"), "tokens/s");
            measured(GpuBar.DECODE_VS_TRANSFORMERS, medians.get("inlay") / medians.get("peer"));
        } catch (PeerProcess.Ended ended) {
            skip(GpuBar.DECODE_VS_TRANSFORMERS, ended.getMessage());
        }
    }

    private void deltas(PeerProcess ours) {
        measured(GpuBar.SWITCH_MS, ours.ask("switch").get("seconds").asDouble() * 1e3);
        measured(GpuBar.LOAD_SECONDS, ours.ask("load").get("seconds").asDouble());
        var switches = ours.ask("switches " + sizes.switches());
        figure(sizes.switches() + " switches", switches.get("seconds").asDouble(), "s");
        measured(GpuBar.BASE_DIGEST, switches.get("untouched").asBoolean() ? 1 : 0);
    }

    private PeerProcess theirs(String mode, Path checkpoint, Path batches, long trained) throws IOException {
        return new PeerProcess("peer-" + mode, List.of(python, "tests/bench/peers/peer.py", mode, checkpoint.toString(), batches.toString(),
                Long.toString(trained), "--device", device.toString(), "--random-weights"));
    }

    // ---- tuning ----

    /** Seconds of a step, and bytes that the process has taken: on a GPU of the card, on the CPU at its peak. */
    private record Step(double seconds, double bytes) {
    }

    private void tuning() throws IOException {
        Path checkpoint = sizes.real() ? BenchModels.llama7b() : BenchModels.llama5m();
        int vocabulary = LlamaConfig.parse(checkpoint).vocabularySize();
        Path batches = Batches.writeUniform(Path.of("target", "bench-device-batches.json"), 1, sizes.sequences(), sizes.sequence(), vocabulary);
        Step smt;
        long trained;
        double before = used();
        try (PeerProcess ours = PeerProcess.ours("inlay-smt", "2g", TuningContender.class, checkpoint.toString(), batches.toString(),
                Double.toString(sizes.real() ? Contender.BUDGET : TINY_SHARE), device.toString())) {
            trained = ours.ready().get("trained").asLong();
            for (int i = 0; i < 2; i++) {
                ours.ask("tokens " + sizes.sequence() + " " + sizes.sequence());
            }
            double small = taken(ours, before);
            figure("memory of SMT at batch 1, " + sizes.sequence() + " tokens", small / 1e9, "GB");
            measured(GpuBar.MEMORY_AT_BATCH_1, small / 1e9);
            smt = step("Inlay SMT, " + String.format(Locale.ROOT, "%,d", trained) + " trained", ours, before);
        }
        Step lora = peer("lora", checkpoint, batches, trained, GpuBar.SMT_VS_LORA, GpuBar.MEMORY_VS_LORA);
        if (lora != null) {
            measured(GpuBar.SMT_VS_LORA, lora.seconds() / smt.seconds());
            measured(GpuBar.MEMORY_VS_LORA, smt.bytes() / lora.bytes());
        }
        Step full = peer("full", checkpoint, batches, trained, GpuBar.SMT_VS_FULL);
        if (full != null) {
            measured(GpuBar.SMT_VS_FULL, full.seconds() / smt.seconds());
        }
    }

    /** A peer's step; null, with the bars skipped, where it cannot run here, for want of memory above all. */
    private Step peer(String mode, Path checkpoint, Path batches, long trained, GpuBar... bars) throws IOException {
        double before = used();
        try (PeerProcess peer = theirs(mode, checkpoint, batches, trained)) {
            return step("PyTorch " + mode + String.format(Locale.ROOT, ", %,d trained", peer.ready().get("trained").asLong()), peer, before);
        } catch (PeerProcess.Ended ended) {
            for (GpuBar bar : bars) {
                skip(bar, ended.getMessage());
            }
            return null;
        }
    }

    private Step step(String name, PeerProcess process, double before) {
        List<Double> seconds = new ArrayList<>();
        boolean recomputed = false;
        for (int i = 0; i <= sizes.rounds(); i++) {
            var answer = process.ask("run");
            recomputed = answer.path("recomputed").asBoolean();
            if (i > 0) {
                seconds.add(answer.get("seconds").asDouble());
            }
        }
        Step step = new Step(Figures.median(seconds), taken(process, before));
        figure(name + (recomputed ? ", recomputing activations" : ""), step.seconds(), "s a step");
        figure("  its memory", step.bytes() / 1e9, "GB");
        return step;
    }

    private double used() {
        return card.ask("used").get("bytes").asDouble();
    }

    private double taken(PeerProcess process, double before) {
        return device.device().isCpu() ? process.peak() : used() - before;
    }
}
