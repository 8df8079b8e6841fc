package io.inlay.server.demo;

import io.inlay.model.CheckpointWriter;
import io.inlay.model.LlamaConfig;
import io.inlay.model.ParameterShape;
import io.inlay.model.Projection;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.IntPredicate;

/**
 * Where the embedded model's pre-training starts: random weights, in which the first two layers lean towards looking things up.
 *
 * <p>A small model spends thousands of steps on a plateau before it finds out that what once followed a word may follow it again
 * (Olsson et al. 2022 call what it then has induction heads). A start that mimics trained weights shortens this (Trockman and Kolter
 * 2023). Here:
 * <ul>
 * <li>all embeddings share one component, which gives attention something to aim at that does not depend on the word;
 * <li>layer 0, heads 0 and 1 look one and two tokens back: their queries and keys hold the shared component, turned by that many
 * positions in the fastest rotary pairs; what they find is written through a random projection P into a subspace Q of the stream;
 * <li>layer 1, heads 0 and 1 compare P of the current word with what Q holds at earlier positions, in the slow rotary pairs, which
 * distance hardly turns; where they agree, the earlier position came after the current word, and its own word is handed on.
 * </ul>
 * Everything stays trainable, and all other weights are normal(0, 1/sqrt(inputs)), those that write into the stream divided by
 * sqrt(2 layers) and by ten more, so that at first they add little noise to what is looked up.
 */
final class InitialWeights {
    private static final double QUIET = 10;
    private static final double SHARED = 0.5;
    /** Length of the shared query and key in each fast pair. */
    private static final double AIM = 6;
    private static final int FAST_PAIRS = 6;
    private static final int FIRST_SLOW_PAIR = 14;
    private static final double FOUND = 0.3;
    private static final double AGREEMENT = 3;
    private static final double HANDED_ON = 1;

    private final LlamaConfig config;
    private final Random random;
    private final Map<String, float[]> weights = new HashMap<>();

    private InitialWeights(LlamaConfig config, long seed) {
        this.config = config;
        this.random = new Random(seed);
    }

    /** Writes {@code model.safetensors} beside the folder's {@code config.json}. The same seed gives the same bytes. */
    static void write(Path folder, long seed) {
        var config = LlamaConfig.parse(folder);
        if (config.layers() < 2 || config.headDim() < 2 * (FIRST_SLOW_PAIR + 1) || config.heads() / config.keyValueHeads() < 2) {
            throw new IllegalArgumentException("needs two layers, two heads for each key/value head, and heads of at least 30");
        }
        var initial = new InitialWeights(config, seed);
        config.parameters().forEach(initial::fill);
        initial.lookBack();
        try (Arena arena = Arena.ofConfined()) {
            CheckpointWriter.write(folder.resolve("model.safetensors"), config.parameters(), parameter -> {
                float[] values = initial.weights.get(parameter.name());
                var bits = arena.allocate(2L * values.length, 64);
                for (int i = 0; i < values.length; i++) {
                    bits.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16(values[i]));
                }
                return bits;
            });
        }
    }

    /** Nearest bf16 of a finite value, ties to even. */
    private static short bf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
    }

    private void fill(ParameterShape parameter) {
        float[] values = new float[Math.toIntExact(parameter.elements())];
        weights.put(parameter.name(), values);
        if (parameter.shape().length == 1) {
            Arrays.fill(values, 1);
            return;
        }
        boolean writes = parameter.name().endsWith(".o_proj.weight") || parameter.name().endsWith(".down_proj.weight");
        double spread = 1 / Math.sqrt(parameter.shape()[1]) / (writes ? QUIET * Math.sqrt(2.0 * config.layers()) : 1);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (spread * random.nextGaussian());
        }
    }

    private void lookBack() {
        int hidden = config.hiddenSize();
        int head = config.headDim();
        int pairs = head / 2;
        float[] embedding = weights.get("model.embed_tokens.weight");
        for (int at = 0; at < embedding.length; at += hidden) {
            embedding[at] = (float) SHARED;
        }
        double rms = Math.sqrt((SHARED * SHARED + (hidden - 1.0) / hidden) / hidden);
        double aim = AIM * rms / SHARED;
        float[] query = linear(0, Projection.Q);
        float[] key = linear(0, Projection.K);
        Arrays.fill(query, 0, 2 * head * hidden, 0);
        Arrays.fill(key, 0, head * hidden, 0);
        for (int pair = 0; pair < FAST_PAIRS; pair++) {
            double frequency = Math.pow(config.ropeTheta(), -2.0 * pair / head);
            key[pair * hidden] = (float) aim;
            for (int h = 0; h < 2; h++) {
                double turn = -(h + 1) * frequency;
                query[(h * head + pair) * hidden] = (float) (aim * Math.cos(turn));
                query[(h * head + pairs + pair) * hidden] = (float) (aim * Math.sin(turn));
            }
        }
        float[][] p = matrix(head, hidden, this::isSlow);
        float[][] q = matrix(head, hidden, this::isSlow);
        float[][] copy = matrix(head, hidden, row -> true);
        rows(linear(0, Projection.V), 0, p, 1);
        columns(linear(0, Projection.O), 0, q, FOUND);
        rows(linear(1, Projection.K), 0, q, 1);
        rows(linear(1, Projection.V), 0, copy, 1);
        for (int h = 0; h < 2; h++) {
            rows(linear(1, Projection.Q), h * head, p, AGREEMENT);
            columns(linear(1, Projection.O), h * head, copy, HANDED_ON);
        }
    }

    private boolean isSlow(int row) {
        return row % (config.headDim() / 2) >= FIRST_SLOW_PAIR;
    }

    private float[] linear(int layer, Projection projection) {
        return weights.get(projection.tensor(layer));
    }

    /** A random matrix with some rows at zero, and nothing in the shared component's column. */
    private float[][] matrix(int rows, int columns, IntPredicate filled) {
        float[][] matrix = new float[rows][columns];
        for (int row = 0; row < rows; row++) {
            for (int column = 1; column < columns && filled.test(row); column++) {
                matrix[row][column] = (float) (random.nextGaussian() / Math.sqrt(columns));
            }
        }
        return matrix;
    }

    /** Puts a head's matrix into a weight's rows from {@code first}. */
    private void rows(float[] weight, int first, float[][] matrix, double scale) {
        for (int row = 0; row < matrix.length; row++) {
            for (int column = 0; column < matrix[row].length; column++) {
                weight[(first + row) * matrix[row].length + column] = (float) (scale * matrix[row][column]);
            }
        }
    }

    /** Puts a head's matrix, transposed, into a weight's columns from {@code first}. */
    private void columns(float[] weight, int first, float[][] matrix, double scale) {
        int width = config.heads() * config.headDim();
        for (int row = 0; row < matrix.length; row++) {
            for (int column = 0; column < matrix[row].length; column++) {
                weight[column * width + first + row] = (float) (scale * matrix[row][column]);
            }
        }
    }
}
