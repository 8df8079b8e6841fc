package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.kernels.Kernels;
import io.inlay.model.CheckpointWriter;
import io.inlay.model.DenseTensor;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.PackedBatch;
import io.inlay.model.TrainableModel;
import io.inlay.server.demo.corpus.Corpus;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.AdamWSettings;
import io.inlay.tuning.LearningRate;
import io.inlay.tuning.Packing;
import io.inlay.tuning.Pretraining;
import io.inlay.tuning.TuningExample;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/**
 * A small model that has learned real text: the embedded one, all of whose parameters are trained on GSM8K's training set, once, and kept
 * outside the checkout; and texts of the test set, which it has not seen.
 */
final class WordProblems {

    static final Path FOLDER = Path.of("../shared/data/gsm8k");

    static final Path BASE = Path.of("model-store/base/inlay-tiny");
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int STEPS = 400;
    private static final int TOKENS_PER_STEP = 2048;
    private static final double LEARNING_RATE = 1e-3;
    private static final int LONGEST = 256;
    private static final int HELD_OUT = 160;

    /** A document of the embedded model's corpus behind all that it has read. */
    private static final long UNREAD = 1_000_000;

    private WordProblems() {
    }

    static boolean available() {
        return Files.isRegularFile(FOLDER.resolve("train.jsonl")) && Files.isRegularFile(FOLDER.resolve("test.jsonl"));
    }

    /** The model's folder. */
    static Path model(Libtorch torch, Kernels kernels) throws IOException {
        Path folder = BenchModels.cache().resolve("inlay-tiny-gsm8k-" + STEPS);
        if (Files.isRegularFile(folder.resolve("model.safetensors"))) {
            return folder;
        }
        System.err.printf("training the embedded model on GSM8K (%d steps, once) ...%n", STEPS);
        Files.createDirectories(folder);
        for (String file : List.of("config.json", "tokenizer.json", "tokenizer_config.json")) {
            Files.write(folder.resolve(file), Files.readAllBytes(BASE.resolve(file)));
        }
        try (LlamaModel model = LlamaModel.open(torch, kernels, BASE, ModelOptions.defaults());
                TrainableModel weights = new TrainableModel(model)) {
            List<int[]> texts = texts(model, "train.jsonl");
            SplittableRandom random = new SplittableRandom(1);
            var settings = new Pretraining.Settings(STEPS, LearningRate.linear(LEARNING_RATE), new AdamWSettings(0.9, 0.95, 1e-8, 0.05), 1,
                    TOKENS_PER_STEP * 2);
            new Pretraining(model, settings).run(weights, _ -> batch(texts, random), report -> {
                if (report.step() % 50 == 0) {
                    System.err.printf("  step %d, loss %.3f%n", report.step(), report.loss());
                }
            }, () -> false);
            try (Arena arena = Arena.ofConfined()) {
                CheckpointWriter.write(folder.resolve("model.safetensors"), DenseTensor.export(model, weights, arena));
            }
        }
        return folder;
    }

    private static PackedBatch batch(List<int[]> texts, SplittableRandom random) {
        List<TuningExample> chosen = new ArrayList<>();
        for (int tokens = 0; tokens < TOKENS_PER_STEP;) {
            int[] text = texts.get(random.nextInt(texts.size()));
            chosen.add(new TuningExample(text, 1));
            tokens += text.length;
        }
        return Packing.pack(chosen);
    }

    /** Texts of the test set, so many at a time. */
    static List<List<int[]>> heldOut(LlamaModel model, int together) throws IOException {
        return groups(texts(model, "test.jsonl").subList(0, HELD_OUT), together);
    }

    /** Documents of the embedded model's own corpus that it has not read. */
    static List<List<int[]>> unread(LlamaModel model, int together) {
        Corpus corpus = new Corpus(1);
        List<int[]> texts = new ArrayList<>();
        for (int i = 0; i < HELD_OUT; i++) {
            int[] tokens = model.tokenizer().encode(corpus.document(UNREAD + i), true);
            texts.add(tokens.length > LONGEST ? Arrays.copyOf(tokens, LONGEST) : tokens);
        }
        return groups(texts, together);
    }

    private static List<List<int[]>> groups(List<int[]> texts, int together) {
        List<List<int[]>> groups = new ArrayList<>();
        for (int from = 0; from < texts.size(); from += together) {
            groups.add(texts.subList(from, Math.min(from + together, texts.size())));
        }
        return groups;
    }

    /** Questions with their answers, cut to what is read at once. */
    private static List<int[]> texts(LlamaModel model, String file) throws IOException {
        List<int[]> texts = new ArrayList<>();
        for (String line : Files.readAllLines(FOLDER.resolve(file))) {
            JsonNode each = JSON.readTree(line);
            int[] tokens = model.tokenizer().encode(each.get("question").asText() + "\n" + each.get("answer").asText(), true);
            texts.add(tokens.length > LONGEST ? Arrays.copyOf(tokens, LONGEST) : tokens);
        }
        return texts;
    }
}
