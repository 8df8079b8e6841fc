package io.inlay.bench;

import io.inlay.delta.BlockCoordinate;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOptions;
import io.inlay.model.Trainable;
import io.inlay.model.TrainableBlocks;
import io.inlay.model.TrainableModel;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.AdamWOptimizer;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.Packing;
import io.inlay.tuning.TrainingStep;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningPlan;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Inlay's side: {@code Contender MODE CHECKPOINT BATCHES}, with MODE smt, full, decode or prefill; the protocol of
 * tests/bench/peers/peer.py.
 */
final class Contender {

    /** The paper's share for LLaMA-7B. */
    static final double BUDGET = 0.0084;

    private static final int EDGE = 256;
    private static final int DECODED = 64;
    private static final int PROMPT = 512;
    private static final int PROMPTS = 2;

    private Contender() {
    }

    private interface Work {
        int run();
    }

    public static void main(String[] arguments) throws IOException {
        Path checkpoint = Path.of(arguments[1]);
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), checkpoint, ModelOptions.defaults())) {
            switch (arguments[0]) {
                case "smt" -> {
                    SortedMap<String, List<BlockCoordinate>> selection = selection(model, BUDGET);
                    try (TrainableBlocks blocks = new TrainableBlocks(model, EDGE, selection)) {
                        serve(arguments[0], blocks.count(), training(model, blocks, AdamWOptimizer.slots(blocks), arguments[2]));
                    }
                }
                case "full" -> {
                    try (TrainableModel all = new TrainableModel(model)) {
                        serve(arguments[0], all.count(), training(model, all, AdamWOptimizer.slots(all), arguments[2]));
                    }
                }
                case "decode" -> serve(arguments[0], 0, decoding(new LlamaInference(model)));
                case "prefill" -> serve(arguments[0], 0, prefilling(new LlamaInference(model)));
                default -> throw new IllegalArgumentException("mode " + arguments[0]);
            }
        }
    }

    /** Blocks spread evenly over the targets: what a step costs does not depend on which are chosen, but on how they are spread. */
    static SortedMap<String, List<BlockCoordinate>> selection(LlamaModel model, double budget) {
        return selection(model, budget, EDGE);
    }

    static SortedMap<String, List<BlockCoordinate>> selection(LlamaModel model, double budget, int edge) {
        TuningMethod method = new TuningMethod.RandomBlocks(budget, OptionalInt.of(edge), TuningMethod.ATTENTION);
        TuningPlan.Blocks plan = TuningPlan.of(model.config(), TuningParameters.of(method).build(), 1).blocks().orElseThrow();
        SortedMap<String, List<BlockCoordinate>> selection = new TreeMap<>();
        for (int k = 0; k < plan.count(); k++) {
            int number = (int) ((long) k * plan.grid().size() / plan.count());
            int matrix = 0;
            while (plan.grid().start(matrix + 1) <= number) {
                matrix++;
            }
            int across = plan.grid().matrices().get(matrix).columns() / edge;
            int inMatrix = number - plan.grid().start(matrix);
            selection.computeIfAbsent(plan.grid().matrices().get(matrix).tensor(), _ -> new ArrayList<>())
                    .add(new BlockCoordinate(inMatrix / across, inMatrix % across));
        }
        return selection;
    }

    private static Work training(LlamaModel model, Trainable trainable, List<AdamWOptimizer.Slot> slots, String batches) throws IOException {
        List<List<TuningExample>> data = Batches.read(Path.of(batches));
        LlamaTraining training = new LlamaTraining(model, trainable);
        AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), AdamWSettings.DEFAULT, slots);
        TrainingStep step = new TrainingStep(training, optimizer, LearningRate.constant(1e-5), 1, 8192);
        int[] taken = {0};
        return () -> {
            int tokens = 0;
            for (List<TuningExample> batch : data) {
                step.take(taken[0]++, Integer.MAX_VALUE, Packing.pack(batch));
                tokens += batch.stream().mapToInt(example -> example.tokens().length).sum();
            }
            return tokens;
        };
    }

    private static long decodingNanos;

    private static Work decoding(LlamaInference inference) {
        int[] prompt = ascending(5, 32);
        return () -> {
            try (KvCache cache = inference.cache(prompt.length + DECODED + 1)) {
                int next = likeliest(inference.prefill(prompt, cache, WeightOverlay.none()));
                long start = System.nanoTime();
                for (int i = 0; i < DECODED; i++) {
                    next = likeliest(inference.decode(next, cache, WeightOverlay.none()));
                }
                decodingNanos = System.nanoTime() - start;
                return DECODED;
            }
        };
    }

    private static Work prefilling(LlamaInference inference) {
        int[] prompt = new int[PROMPT];
        for (int i = 0; i < PROMPT; i++) {
            prompt[i] = i % 1000 + 5;
        }
        return () -> {
            for (int i = 0; i < PROMPTS; i++) {
                try (KvCache cache = inference.cache(PROMPT)) {
                    inference.prefill(prompt, cache, WeightOverlay.none());
                }
            }
            return PROMPT * PROMPTS;
        };
    }

    private static int[] ascending(int first, int count) {
        int[] ids = new int[count];
        for (int i = 0; i < count; i++) {
            ids[i] = first + i;
        }
        return ids;
    }

    static int likeliest(float[] logits) {
        int best = 0;
        for (int i = 1; i < logits.length; i++) {
            if (logits[i] > logits[best]) {
                best = i;
            }
        }
        return best;
    }

    private static void serve(String mode, long trained, Work work) throws IOException {
        System.out.println("{\"ready\": \"" + mode + "\", \"trained\": " + trained + "}");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null && !command.equals("quit"); command = commands.readLine()) {
            if (command.equals("peak")) {
                System.out.println("{\"bytes\": " + peakBytes() + "}");
            } else {
                decodingNanos = 0;
                long start = System.nanoTime();
                int tokens = work.run();
                long nanos = decodingNanos > 0 ? decodingNanos : System.nanoTime() - start;
                System.out.println("{\"seconds\": " + nanos / 1e9 + ", \"tokens\": " + tokens + "}");
            }
        }
    }

    static long peakBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        return 0;
    }
}
