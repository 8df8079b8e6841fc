package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import io.inlay.jobs.TrainingData;
import io.inlay.model.LlamaModel;
import io.inlay.store.FileBytes;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningExample;
import io.inlay.tuning.TuningListener;
import io.inlay.tuning.TuningMethod;
import io.inlay.tuning.TuningOutcome;
import io.inlay.tuning.TuningParameters;
import io.inlay.tuning.TuningRun;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** Deltas of real tuning runs, trained once on GSM8K and kept outside the checkout. */
final class TunedDeltas {

    private static final Path GSM8K = Path.of("../shared/data/gsm8k/train.jsonl");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int EXAMPLES = 1000;
    private static final int LONGEST = 96;
    private static final int BATCH = 2;
    private static final double BUDGET = 0.05;

    /** A run by name. */
    record Run(String name, int steps, double learningRate) {
    }

    /**
     * The SMT paper's rates are 9.65e-6 to 1e-4. The bytes a value are held at the lowest; at the highest the changes of 240 steps are as
     * large as the weights, and their entropy alone is above the bar. The comparison with XOR is held by the worse of the two.
     */
    static final Run LONG = new Run("long at the paper's rate", 240, 9.65e-6);
    static final List<Run> RUNS = List.of(new Run("short", 20, 1e-4), LONG, new Run("long", 240, 1e-4),
            new Run("high learning rate", 60, 2e-3));

    private TunedDeltas() {
    }

    /** Whether there is data to train on, or nothing left to train. */
    static boolean available() {
        return Files.isRegularFile(GSM8K) || RUNS.stream().allMatch(run -> Files.isRegularFile(file(run)));
    }

    private static Path file(Run run) {
        return BenchModels.cache().resolve("deltas-107m").resolve(run.name().replace("'", "").replace(' ', '-') + "-" + run.steps() + ".safetensors");
    }

    /** The run's delta, in memory of the arena; trained when there is none yet or it is of another base. */
    static DeltaFile.Decoded of(Run run, LlamaModel model, Arena arena) throws IOException {
        Path file = file(run);
        if (!Files.isRegularFile(file) || !isOf(file, model)) {
            train(run, model, file);
        }
        try (Arena copy = Arena.ofShared()) {
            return DeltaFile.decode(FileBytes.read(file, copy), file.toString(), model.fingerprint(), model, arena);
        }
    }

    private static boolean isOf(Path file, LlamaModel model) throws IOException {
        try (Arena copy = Arena.ofShared()) {
            return DeltaFile.manifest(FileBytes.read(file, copy), file.toString()).baseFingerprint().equals(model.fingerprint());
        } catch (Problem unreadable) {
            return false;
        }
    }

    private static void train(Run run, LlamaModel model, Path file) throws IOException {
        System.err.printf("training the delta '%s' (%d steps, once) ...%n", run.name(), run.steps());
        TuningMethod method = new TuningMethod.Smt(BUDGET, OptionalInt.of(256), TuningMethod.ATTENTION, 10, TuningMethod.Score.MEAN_ABS_SUM,
                new TuningMethod.Strategy.Global());
        TuningParameters parameters = TuningParameters.of(method).batchSize(BATCH).maxSteps(run.steps())
                .learningRate(LearningRate.linear(run.learningRate())).build();
        try (Arena arena = Arena.ofShared()) {
            TuningOutcome outcome = new TuningRun(model).run(examples(model), List.of(), parameters, new TuningListener() {
                @Override
                public void step(StepReport report) {
                    if (report.step() % 20 == 0) {
                        System.err.printf("  step %d, loss %.3f%n", report.step(), report.loss());
                    }
                }
            }, () -> false, arena);
            DeltaManifest draft = DeltaManifest.draft(model.name(), model.fingerprint(), "bench", outcome.blocks().getFirst().edge(),
                    Instant.now().toString(), "bench", Map.of("learning_rate", Double.toString(run.learningRate())), "", Map.of(), "bench");
            Files.createDirectories(file.getParent());
            Path partial = file.resolveSibling(file.getFileName() + ".partial");
            try (OutputStream out = Files.newOutputStream(partial)) {
                for (byte[] part : DeltaFile.encode(draft, outcome.blocks(), model).parts()) {
                    out.write(part);
                }
            }
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    private static List<TuningExample> examples(LlamaModel model) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (String line : Files.readAllLines(GSM8K).subList(0, EXAMPLES)) {
            JsonNode each = JSON.readTree(line);
            ObjectNode pair = JSON.createObjectNode().put("prompt", each.get("question").asText()).put("completion", each.get("answer").asText());
            lines.append(pair).append('\n');
        }
        List<TuningExample> whole = new TrainingData(model).read("gsm8k", lines.toString().getBytes(StandardCharsets.UTF_8));
        return whole.stream().filter(each -> each.promptLength() < LONGEST - 16)
                .map(each -> new TuningExample(Arrays.copyOf(each.tokens(), Math.min(LONGEST, each.tokens().length)), each.promptLength()))
                .toList();
    }
}
