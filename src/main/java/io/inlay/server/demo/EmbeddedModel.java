package io.inlay.server.demo;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.CheckpointWriter;
import io.inlay.model.DenseTensor;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.PackedBatch;
import io.inlay.model.Tokenizer;
import io.inlay.model.TrainableModel;
import io.inlay.server.demo.corpus.Corpus;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.Packing;
import io.inlay.tuning.Pretraining;
import io.inlay.tuning.StepReport;
import io.inlay.tuning.TuningExample;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Makes the embedded model: {@code ./inlay pretrain [STEPS [FOLDER]]}. Reads configuration and tokenizer of
 * {@code model-store/base/inlay-tiny}, writes weights and the loss of every step into the folder, and never touches the committed weights.
 */
public final class EmbeddedModel {
    /** What the committed weights were made with. */
    static final long SEED = 1;

    private static final Path SOURCE = Path.of("model-store/base/inlay-tiny");
    private static final List<String> SOURCE_FILES = List.of("config.json", "tokenizer.json", "tokenizer_config.json");
    private static final int TOKENS_PER_STEP = 2048;
    private static final int STEPS = 6500;
    private static final int STEPS_PER_CHECKPOINT = 250;
    private static final LearningRate LEARNING_RATE = new LearningRate(1e-3, LearningRate.Shape.LINEAR, 100);
    private static final AdamWSettings ADAMW = new AdamWSettings(0.9, 0.95, 1e-8, 0.05);

    private final Path folder;
    private final int steps;
    private final Corpus corpus = new Corpus(SEED);
    private long nextDocument;
    private double smoothed = Double.NaN;
    private long tokens;
    private final long started = System.nanoTime();

    private EmbeddedModel(Path folder, int steps) {
        this.folder = folder;
        this.steps = steps;
    }

    public static void main(String[] arguments) throws IOException {
        int steps = arguments.length > 0 ? Integer.parseInt(arguments[0]) : STEPS;
        new EmbeddedModel(arguments.length > 1 ? Path.of(arguments[1]) : Path.of("target/inlay-tiny"), steps).make();
    }

    private void make() throws IOException {
        Files.createDirectories(folder);
        for (String name : SOURCE_FILES) {
            Files.copy(SOURCE.resolve(name), folder.resolve(name), StandardCopyOption.REPLACE_EXISTING);
        }
        InitialWeights.write(folder, SEED);
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), folder, ModelOptions.defaults());
                TrainableModel weights = new TrainableModel(model);
                BufferedWriter losses = Files.newBufferedWriter(folder.resolve("loss.csv"))) {
            System.out.printf(Locale.ROOT, "%s: %,d parameters, %d steps of about %d tokens%n", folder, model.parameterCount(), steps,
                    TOKENS_PER_STEP);
            losses.write("step,documents,tokens,seconds,loss,learning_rate,gradient_norm\n");
            var settings = new Pretraining.Settings(steps, LEARNING_RATE, ADAMW, 1, TOKENS_PER_STEP * 2);
            new Pretraining(model, settings).run(weights, step -> batch(model.tokenizer()), report -> {
                log(report, losses);
                if (report.step() % STEPS_PER_CHECKPOINT == 0 || report.step() == steps) {
                    save(model, weights);
                }
            }, () -> false);
        }
    }

    /** The next documents of the corpus, in their order. */
    private PackedBatch batch(Tokenizer tokenizer) {
        var documents = new ArrayList<TuningExample>();
        for (int inBatch = 0; inBatch < TOKENS_PER_STEP;) {
            int[] document = encode(tokenizer, corpus.document(nextDocument++));
            documents.add(new TuningExample(document, 1));
            inBatch += document.length - 1;
        }
        return Packing.pack(documents);
    }

    /** A document between begin and end, cut to what the model can read. */
    private static int[] encode(Tokenizer tokenizer, String text) {
        int[] ids = tokenizer.encode(text, true);
        int end = tokenizer.eos().iterator().next();
        if (ids[ids.length - 1] != end) {
            ids = Arrays.copyOf(ids, ids.length + 1);
            ids[ids.length - 1] = end;
        }
        return ids.length > 512 ? Arrays.copyOf(ids, 512) : ids;
    }

    private void log(StepReport report, BufferedWriter losses) {
        tokens += report.tokens();
        smoothed = Double.isNaN(smoothed) ? report.loss() : 0.98 * smoothed + 0.02 * report.loss();
        double seconds = (System.nanoTime() - started) / 1e9;
        try {
            losses.write(String.format(Locale.ROOT, "%d,%d,%d,%.1f,%.4f,%.6f,%.3f%n", report.step(), nextDocument, tokens, seconds,
                    report.loss(), report.learningRate(), report.gradientNorm()));
            losses.flush();
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        if (report.step() % 25 == 0) {
            System.out.printf(Locale.ROOT, "step %d of %d  loss %.3f  %,.0f tokens/s  %.0f s%n", report.step(), report.steps(), smoothed,
                    tokens / seconds, seconds);
        }
    }

    private void save(LlamaModel model, TrainableModel weights) {
        try (Arena arena = Arena.ofConfined()) {
            // The file that the model was opened from stays mapped under the new one: the writer replaces names, not bytes.
            CheckpointWriter.write(folder.resolve("model.safetensors"), DenseTensor.export(model, weights, arena));
        }
    }
}
