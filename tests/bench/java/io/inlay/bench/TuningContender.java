package io.inlay.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.ProfiledKernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.PackedBatch;
import io.inlay.model.TrainableBlocks;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Profile;
import io.inlay.tuning.AdamWOptimizer;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.Packing;
import io.inlay.tuning.TrainingStep;
import io.inlay.tuning.TuningExample;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.List;

/**
 * Inlay's side of {@code ./inlay bench tuning}: {@code TuningContender CHECKPOINT BATCHES BUDGET [DEVICE]}. To the commands of
 * tests/bench/peers/peer.py it adds {@code floor} (a step's necessary operations at the rate of this machine's GEMM), {@code profile} (a
 * step, operation by operation) and {@code tokens N [LENGTH]} (a step of N tokens in sequences of that length).
 */
final class TuningContender {

    private static final int EDGE = 256;
    private static final int SEQUENCE = 256;

    private final LlamaModel model;
    private final TrainableBlocks blocks;
    private final TrainingStep step;
    private final List<List<TuningExample>> batches;
    private int taken;

    private TuningContender(LlamaModel model, TrainableBlocks blocks, List<List<TuningExample>> batches, TrainingStep step) {
        this.model = model;
        this.blocks = blocks;
        this.batches = batches;
        this.step = step;
    }

    public static void main(String[] arguments) throws IOException {
        Libtorch torch = Libtorch.load();
        BenchDevice device = BenchDevice.argument(arguments, 3);
        Kernels kernels = device.kernels(torch);
        try (LlamaModel model = device.open(torch, kernels, Path.of(arguments[0]))) {
            List<List<TuningExample>> batches = Batches.read(Path.of(arguments[1]));
            try (TrainableBlocks blocks = new TrainableBlocks(model, EDGE, Contender.selection(model, Double.parseDouble(arguments[2])));
                    LlamaTraining training = new LlamaTraining(model, blocks)) {
                new TuningContender(model, blocks, batches, step(model, training, blocks)).serve(torch, kernels, arguments);
            }
        }
    }

    private static TrainingStep step(LlamaModel model, LlamaTraining training, TrainableBlocks blocks) {
        AdamWOptimizer optimizer = new AdamWOptimizer(model.torch(), model.kernels(), AdamWSettings.DEFAULT, AdamWOptimizer.slots(blocks));
        return new TrainingStep(training, optimizer, LearningRate.constant(1e-5), 1, 8192);
    }

    private void serve(Libtorch torch, Kernels kernels, String[] arguments) throws IOException {
        ObjectMapper json = new ObjectMapper();
        System.out.println("{\"ready\": \"smt\", \"trained\": " + blocks.count() + "}");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String command = commands.readLine(); command != null && !command.equals("quit"); command = commands.readLine()) {
            ObjectNode answer = json.createObjectNode();
            String[] words = command.split(" ");
            switch (words[0]) {
                case "peak" -> answer.put("bytes", Contender.peakBytes());
                case "run" -> timed(answer, batches.get(taken % batches.size()));
                case "tokens" -> timed(answer, Batches.uniform(Integer.parseInt(words[1]),
                        words.length > 2 ? Integer.parseInt(words[2]) : SEQUENCE, model.config().vocabularySize()));
                case "floor" -> {
                    TuningFloor floor = TuningFloor.of(model, blocks.count(), Packing.pack(batches.getFirst()));
                    answer.put("seconds", floor.seconds()).put("gflops", floor.gflops()).put("operations", floor.operations());
                }
                case "profile" -> profiled(answer, torch, kernels, arguments);
                default -> throw new IllegalArgumentException("command " + command);
            }
            System.out.println(answer);
        }
    }

    private void timed(ObjectNode answer, List<TuningExample> batch) {
        PackedBatch packed = Packing.pack(batch);
        long start = System.nanoTime();
        step.take(taken++, Integer.MAX_VALUE, packed);
        answer.put("seconds", (System.nanoTime() - start) / 1e9).put("tokens",
                batch.stream().mapToInt(example -> example.tokens().length).sum());
    }

    /**
     * A second step over the first batch with a clock at every operation; the first warms up. Made with a model of its own over the same
     * mapped file, so that what is timed elsewhere carries no clock.
     */
    private void profiled(ObjectNode answer, Libtorch torch, Kernels kernels, String[] arguments) {
        Profile measured = new Profile();
        PackedBatch batch = Packing.pack(batches.getFirst());
        try (LlamaModel watched = BenchDevice.argument(arguments, 3).open(torch, new ProfiledKernels(kernels, measured), Path.of(arguments[0]));
                TrainableBlocks trained = new TrainableBlocks(watched, EDGE, Contender.selection(watched, Double.parseDouble(arguments[2])));
                LlamaTraining training = new LlamaTraining(watched, trained)) {
            TrainingStep profiledStep = step(watched, training, trained);
            profiledStep.take(0, Integer.MAX_VALUE, batch);
            measured.reset();
            torch.profiledBy(measured);
            long start = System.nanoTime();
            profiledStep.take(1, Integer.MAX_VALUE, batch);
            answer.put("seconds", (System.nanoTime() - start) / 1e9);
            torch.profiledBy(null);
        }
        measured.entries().forEach(entry -> answer.withArray("entries").addObject().put("operation", entry.operation()).put("calls", entry.calls())
                .put("seconds", entry.seconds()).put("bytes", entry.bytes()).put("operations", entry.operations()));
    }
}
