package io.inlay.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.tuning.TuningExample;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Batches of random ids that both sides of a comparison read from one file. Lengths are those of GSM8K's questions and answers (four
 * characters a token) where the data is at hand, else drawn with their mean and spread.
 */
final class Batches {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Path GSM8K = Path.of("../shared/data/gsm8k/train.jsonl");

    private Batches() {
    }

    static Path write(Path file, int batches, int sequences, int vocabulary) throws IOException {
        SplittableRandom random = new SplittableRandom(7);
        return write(file, batches, sequences, vocabulary, lengths(batches * sequences, random), random);
    }

    /** Sequences of one length that are half prompt. */
    static Path writeUniform(Path file, int batches, int sequences, int length, int vocabulary) throws IOException {
        List<int[]> lengths = Collections.nCopies(batches * sequences, new int[] {length / 2, length - length / 2});
        return write(file, batches, sequences, vocabulary, lengths, new SplittableRandom(7));
    }

    private static Path write(Path file, int batches, int sequences, int vocabulary, List<int[]> lengths, SplittableRandom random)
            throws IOException {
        ObjectNode root = JSON.createObjectNode();
        ArrayNode all = root.putArray("batches");
        for (int b = 0; b < batches; b++) {
            ArrayNode batch = all.addArray();
            for (int s = 0; s < sequences; s++) {
                int[] length = lengths.get(b * sequences + s);
                ObjectNode sequence = batch.addObject().put("prompt", length[0]);
                ArrayNode tokens = sequence.putArray("tokens");
                for (int i = 0; i < length[0] + length[1]; i++) {
                    tokens.add(random.nextInt(2, vocabulary));
                }
            }
        }
        Files.createDirectories(file.getParent());
        JSON.writeValue(file.toFile(), root);
        return file;
    }

    /** Pairs of prompt and answer tokens. */
    private static List<int[]> lengths(int count, SplittableRandom random) throws IOException {
        List<int[]> lengths = new ArrayList<>();
        if (Files.isRegularFile(GSM8K)) {
            for (String line : Files.readAllLines(GSM8K).subList(0, count)) {
                JsonNode json = JSON.readTree(line);
                lengths.add(new int[] {Math.max(2, json.get("question").asText().length() / 4),
                        Math.max(2, json.get("answer").asText().length() / 4)});
            }
        } else {
            for (int i = 0; i < count; i++) {
                lengths.add(new int[] {random.nextInt(25, 95), random.nextInt(25, 125)});
            }
        }
        return lengths;
    }

    /** Sequences of one length that are half prompt, in all of {@code tokens} inputs. */
    static List<TuningExample> uniform(int tokens, int length, int vocabulary) {
        SplittableRandom random = new SplittableRandom(9);
        List<TuningExample> examples = new ArrayList<>();
        for (int left = tokens; left > 0; left -= length) {
            examples.add(new TuningExample(random.ints(Math.min(left, length) + 1L, 2, vocabulary).toArray(), Math.min(left, length) / 2 + 1));
        }
        return examples;
    }

    static List<List<TuningExample>> read(Path file) throws IOException {
        List<List<TuningExample>> batches = new ArrayList<>();
        for (JsonNode batch : JSON.readTree(file.toFile()).get("batches")) {
            List<TuningExample> examples = new ArrayList<>();
            for (JsonNode sequence : batch) {
                int[] tokens = new int[sequence.get("tokens").size()];
                for (int i = 0; i < tokens.length; i++) {
                    tokens[i] = sequence.get("tokens").get(i).asInt();
                }
                examples.add(new TuningExample(tokens, sequence.get("prompt").asInt()));
            }
            batches.add(examples);
        }
        return batches;
    }
}
