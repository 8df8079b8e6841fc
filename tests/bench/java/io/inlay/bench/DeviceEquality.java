package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.delta.BlockCoordinate;
import io.inlay.kernels.Kernels;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOptions;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tuning.AdamWOptimizer;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.Packing;
import io.inlay.tuning.TrainingStep;
import io.inlay.tuning.TuningExample;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.SplittableRandom;

/**
 * One small random model on the device, on the CPU and in transformers: {@code DeviceEquality DEVICE [PYTHON]}. A prompt's logits, a greedy
 * generation, twenty steps of SMT, and the generation through the trained blocks. In fp32 texts must be the same and numbers nearly so; in
 * bf16 the device is held to the CPU with the bounds of that type, and to itself in every bit ({@link DeviceBits}).
 */
final class DeviceEquality {

    private static final int EDGE = 32;
    private static final double SHARE = 0.01;
    private static final int PROMPT = 40;
    private static final int TOKENS = 24;
    private static final int STEPS = 20;
    private static final int SEQUENCES = 4;
    private static final double RATE = 2e-3;
    private static final double CLIP = 1;

    /** Bounds on logits as a share of the largest, on losses as a share of theirs, on trained values as a share of how far they moved. */
    private record Bounds(double logits, double losses, double values) {
    }

    private static final Bounds FP32 = new Bounds(1e-4, 1e-4, 0.01);
    private static final Bounds BF16 = new Bounds(0.03, 0.02, 0.2);

    /** What one side makes of the case. {@code values} of all blocks in the order of the selection, after the steps. */
    private record Outcome(float[] logits, int[] generated, double[] losses, float[] values, int[] tuned) {
    }

    /** @param start the blocks' values before the steps, the same for every side */
    private record Case(Path checkpoint, int[] prompt, List<List<TuningExample>> batches,
            SortedMap<String, List<BlockCoordinate>> selection, float[] start) {
    }

    private final Libtorch torch = Libtorch.load();
    private boolean failed;

    private DeviceEquality() {
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        BenchDevice device = BenchDevice.named(arguments[0]);
        DeviceEquality equality = new DeviceEquality();
        equality.compare(device, device.kernels(equality.torch), arguments.length > 1 ? arguments[1] : null);
        System.exit(equality.failed ? 1 : 0);
    }

    private void compare(BenchDevice device, Kernels kernels, String python) throws IOException, InterruptedException {
        Case given = given();
        Outcome here = outcome(given, kernels, DType.FP32, device.device());
        Outcome cpu = outcome(given, device.reference(), DType.FP32, Device.CPU);
        hold("fp32-vs-cpu", given, here, cpu, FP32);
        sameText("fp32-vs-cpu", here, cpu);
        say(Verdict.of(!Arrays.equals(here.generated(), here.tuned()), "equality.tuning-changes-the-text", ""));
        if (python == null) {
            say(Verdict.skipped("equality.fp32-vs-transformers", "there is no Python with transformers"));
        } else {
            Outcome theirs = transformers(given, device, python);
            hold("fp32-vs-transformers", given, here, theirs, FP32);
            sameText("fp32-vs-transformers", here, theirs);
        }
        hold("bf16-vs-cpu", given, outcome(given, kernels, DType.BF16, device.device()),
                outcome(given, device.reference(), DType.BF16, Device.CPU), BF16);
        try (LlamaModel model = LlamaModel.open(torch, kernels, given.checkpoint(), new ModelOptions(DType.BF16, 0, null, device.device()))) {
            DeviceBits.of(model).forEach(this::say);
        }
    }

    private Case given() throws IOException {
        Path checkpoint = BenchModels.small();
        SplittableRandom random = new SplittableRandom(11);
        try (LlamaModel model = LlamaModel.open(torch, BenchDevice.CPU.kernels(torch), checkpoint, ModelOptions.of(DType.FP32))) {
            int vocabulary = model.config().vocabularySize();
            List<List<TuningExample>> batches = new ArrayList<>();
            for (int step = 0; step < STEPS; step++) {
                List<TuningExample> batch = new ArrayList<>();
                for (int i = 0; i < SEQUENCES; i++) {
                    int length = random.nextInt(6, 40);
                    batch.add(new TuningExample(random.ints(length, 2, vocabulary).toArray(), random.nextInt(0, length - 2)));
                }
                batches.add(batch);
            }
            SortedMap<String, List<BlockCoordinate>> selection = Contender.selection(model, SHARE, EDGE);
            try (TrainableBlocks untouched = new TrainableBlocks(model, EDGE, selection)) {
                return new Case(checkpoint, random.ints(PROMPT, 2, vocabulary).toArray(), batches, selection,
                        Scope.floats(torch, untouched.values()));
            }
        }
    }

    private Outcome outcome(Case given, Kernels kernels, DType type, Device device) {
        try (LlamaModel model = LlamaModel.open(torch, kernels, given.checkpoint(), new ModelOptions(type, 0, null, device));
                LlamaInference inference = new LlamaInference(model);
                TrainableBlocks blocks = new TrainableBlocks(model, EDGE, given.selection());
                LlamaTraining training = new LlamaTraining(model, blocks);
                AdamWOptimizer optimizer = new AdamWOptimizer(torch, kernels, AdamWSettings.DEFAULT, AdamWOptimizer.slots(blocks))) {
            float[] logits;
            try (KvCache cache = inference.cache(PROMPT)) {
                logits = inference.prefill(given.prompt(), cache, WeightOverlay.none());
            }
            int[] generated = generate(inference, given.prompt(), WeightOverlay.none());
            TrainingStep step = new TrainingStep(training, optimizer, LearningRate.constant(RATE), CLIP, Integer.MAX_VALUE);
            double[] losses = new double[STEPS];
            for (int i = 0; i < STEPS; i++) {
                losses[i] = step.take(i, STEPS, Packing.pack(given.batches().get(i))).loss();
            }
            float[] values = Scope.floats(torch, blocks.values());
            try (WeightOverlay overlay = WeightOverlay.of(model, blocks)) {
                return new Outcome(logits, generated, losses, values, generate(inference, given.prompt(), overlay));
            }
        }
    }

    private static int[] generate(LlamaInference inference, int[] prompt, WeightOverlay overlay) {
        int[] tokens = new int[TOKENS];
        try (KvCache cache = inference.cache(prompt.length + TOKENS)) {
            tokens[0] = Contender.likeliest(inference.prefill(prompt, cache, overlay));
            for (int i = 1; i < TOKENS; i++) {
                tokens[i] = Contender.likeliest(inference.decode(tokens[i - 1], cache, overlay));
            }
        }
        return tokens;
    }

    // ---- transformers ----

    private Outcome transformers(Case given, BenchDevice device, String python) throws IOException, InterruptedException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode asked = json.createObjectNode().put("checkpoint", given.checkpoint().toString()).put("tokens", TOKENS).put("edge", EDGE)
                .put("rate", RATE).put("clip", CLIP);
        asked.set("prompt", json.valueToTree(given.prompt()));
        ArrayNode batches = asked.putArray("batches");
        given.batches().forEach(batch -> {
            ArrayNode sequences = batches.addArray();
            batch.forEach(each -> sequences.addObject().put("prompt", each.promptLength()).set("tokens", json.valueToTree(each.tokens())));
        });
        ObjectNode selection = asked.putObject("selection");
        given.selection().forEach((tensor, places) -> {
            ArrayNode array = selection.putArray(tensor);
            places.stream().sorted().forEach(at -> array.addArray().add(at.row()).add(at.column()));
        });
        Path log = Path.of("target", "reference.log");
        Process process = new ProcessBuilder(python, "tests/gpu/reference.py", device.toString()).redirectError(log.toFile()).start();
        try (var in = process.getOutputStream()) {
            in.write((asked + "\n").getBytes(StandardCharsets.UTF_8));
        }
        String answer = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException("tests/gpu/reference.py failed; see " + log.toAbsolutePath());
        }
        JsonNode read = json.readTree(answer);
        return new Outcome(json.treeToValue(read.get("logits"), float[].class), json.treeToValue(read.get("generated"), int[].class),
                json.treeToValue(read.get("losses"), double[].class), json.treeToValue(read.get("values"), float[].class),
                json.treeToValue(read.get("tuned"), int[].class));
    }

    // ---- comparing ----

    private void hold(String pair, Case given, Outcome here, Outcome there, Bounds bounds) {
        double largest = 0;
        double apart = 0;
        for (int i = 0; i < there.logits().length; i++) {
            largest = Math.max(largest, Math.abs(there.logits()[i]));
            apart = greater(apart, Math.abs(here.logits()[i] - there.logits()[i]));
        }
        say(Verdict.within("equality." + pair + ".logits", apart / largest, bounds.logits()));
        double losses = 0;
        for (int i = 0; i < STEPS; i++) {
            losses = greater(losses, Math.abs(here.losses()[i] / there.losses()[i] - 1));
        }
        say(Verdict.within("equality." + pair + ".losses-of-" + STEPS + "-steps", losses, bounds.losses()));
        double moved = 0;
        double between = 0;
        for (int i = 0; i < given.start().length; i++) {
            moved += Math.abs(there.values()[i] - given.start()[i]);
            between += Math.abs(here.values()[i] - there.values()[i]);
        }
        say(Verdict.within("equality." + pair + ".trained-values", between / moved, bounds.values()));
    }

    /** The greater one; NaN where one is, which no bound lets pass. */
    private static double greater(double a, double b) {
        return Double.isNaN(a) || Double.isNaN(b) ? Double.NaN : Math.max(a, b);
    }

    private void sameText(String pair, Outcome here, Outcome there) {
        say(Verdict.of(Arrays.equals(here.generated(), there.generated()), "equality." + pair + ".generation", TOKENS + " tokens"));
        say(Verdict.of(Arrays.equals(here.tuned(), there.tuned()), "equality." + pair + ".generation-after-tuning", TOKENS + " tokens"));
    }

    private void say(Verdict verdict) {
        failed |= verdict.say().kind() == Verdict.Kind.FAIL;
    }
}
