package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.kernels.ScalarKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Forward and backward against transformers and autograd: see tests/golden/llama. */
class LlamaGoldenTest {

    private static final double FP32 = 1e-4;

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void logits_in_fp32_equal_those_of_transformers(String name) {
        Golden golden = Golden.of(name);
        try (LlamaModel model = open(golden, DType.FP32)) {
            float[] expected = golden.floats("logits.fp32");
            assertThat(distance(logits(model, golden.ints("tokens")), expected)).isLessThan(FP32);
            assertThat(model.parameterCount()).isEqualTo(model.config().parameterCount());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void a_prompt_at_once_gives_the_logits_of_a_prompt_token_by_token(String name) {
        Golden golden = Golden.of(name);
        int[] tokens = golden.ints("tokens");
        try (LlamaModel model = open(golden, DType.FP32); LlamaInference inference = new LlamaInference(model);
                WeightOverlay none = WeightOverlay.none(); KvCache cache = inference.cache(tokens.length)) {
            float[] all = golden.floats("logits.fp32");
            int vocabulary = model.config().vocabularySize();
            inference.prefill(Arrays.copyOf(tokens, 5), cache, none);
            float[] last = inference.prefill(Arrays.copyOfRange(tokens, 5, tokens.length), cache, none);
            assertThat(distance(last, Arrays.copyOfRange(all, all.length - vocabulary, all.length))).isLessThan(FP32);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void the_best_token_is_that_of_transformers_for_64_steps(String name) {
        Golden golden = Golden.of(name);
        int[] prompt = golden.ints("prompt");
        int[] expected = golden.ints("greedy");
        assertThat(expected).hasSize(64);
        try (LlamaModel model = open(golden, DType.FP32); LlamaInference inference = new LlamaInference(model);
                WeightOverlay none = WeightOverlay.none(); KvCache cache = inference.cache(prompt.length + expected.length)) {
            int[] chosen = new int[expected.length];
            float[] logits = inference.prefill(prompt, cache, none);
            for (int step = 0; step < chosen.length; step++) {
                chosen[step] = best(logits);
                logits = inference.decode(chosen[step], cache, none);
            }
            assertThat(chosen).isEqualTo(expected);
        }
    }

    /** Both round intermediates to 8 bits, at different places: the yardstick is the fp32 answer of the same rounded weights. */
    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void logits_in_bf16_are_as_near_to_fp32_as_those_of_transformers(String name) {
        Golden golden = Golden.of(name);
        try (LlamaModel model = open(golden, DType.BF16)) {
            float[] exact = golden.floats("logits.fp32_of_bf16_weights");
            double theirs = distance(golden.floats("logits.bf16"), exact);
            double ours = distance(logits(model, golden.ints("tokens")), exact);
            assertThat(ours).isLessThanOrEqualTo(theirs);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like"})
    void every_gradient_equals_autograds(String name) {
        Golden golden = Golden.of(name);
        try (LlamaModel model = open(golden, DType.FP32); TrainableModel weights = new TrainableModel(model);
                LlamaTraining training = new LlamaTraining(model, weights)) {
            BatchLoss loss = training.forwardBackward(batch(golden), 1);
            assertThat(loss.sum() / golden.floats("batch.loss")[0]).isBetween(1 - FP32, 1 + FP32);
            Map<String, Double> off = new HashMap<>();
            golden.gradients().forEach((parameter, expected) -> off.put(parameter,
                    distance(Scope.floats(model.torch(), weights.parameters().get(parameter).gradient()), expected)));
            assertThat(off.keySet()).isEqualTo(weights.parameters().keySet());
            assertThat(off).allSatisfy((parameter, distance) -> assertThat(distance).as(parameter).isLessThan(FP32));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like"})
    void activations_computed_twice_give_the_same_bits_in_less_memory(String name) {
        Golden golden = Golden.of(name);
        try (LlamaModel model = open(golden, DType.BF16)) {
            Map<LlamaTraining.Activations, float[]> gradients = new EnumMap<>(LlamaTraining.Activations.class);
            Map<LlamaTraining.Activations, Long> bytes = new EnumMap<>(LlamaTraining.Activations.class);
            for (LlamaTraining.Activations activations : LlamaTraining.Activations.values()) {
                try (TrainableBlocks blocks = new TrainableBlocks(model, 16, scattered(model.config(), 16));
                        LlamaTraining training = new LlamaTraining(model, blocks, activations)) {
                    training.forwardBackward(batch(golden), 1);
                    training.forwardBackward(batch(golden), 1);
                    gradients.put(activations, Scope.floats(model.torch(), blocks.gradients()));
                    bytes.put(activations, training.workspaceBytes());
                }
            }
            assertThat(gradients.get(LlamaTraining.Activations.RECOMPUTE)).isEqualTo(gradients.get(LlamaTraining.Activations.KEEP));
            assertThat(bytes.get(LlamaTraining.Activations.RECOMPUTE)).isLessThan(bytes.get(LlamaTraining.Activations.KEEP));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like"})
    void gradients_of_blocks_are_slices_of_the_full_gradient(String name) {
        Golden golden = Golden.of(name);
        int edge = 16;
        try (LlamaModel model = open(golden, DType.FP32)) {
            SortedMap<String, List<BlockCoordinate>> selection = scattered(model.config(), edge);
            try (TrainableBlocks blocks = new TrainableBlocks(model, edge, selection);
                    LlamaTraining training = new LlamaTraining(model, blocks)) {
                training.forwardBackward(batch(golden), 1);
                float[] made = Scope.floats(model.torch(), blocks.gradients());
                float[] expected = new float[made.length];
                int at = 0;
                for (Map.Entry<String, List<BlockCoordinate>> entry : selection.entrySet()) {
                    float[] full = golden.floats("gradient." + entry.getKey());
                    int columns = Math.toIntExact(golden.shape("gradient." + entry.getKey())[1]);
                    for (BlockCoordinate block : entry.getValue()) {
                        for (int row = 0; row < edge; row++, at += edge) {
                            System.arraycopy(full, (block.row() * edge + row) * columns + block.column() * edge, expected, at, edge);
                        }
                    }
                }
                assertThat(at).isEqualTo(made.length);
                assertThat(distance(made, expected)).isLessThan(FP32);
            }
        }
    }

    /** Every fifth block of every linear of every layer but the first. */
    private static SortedMap<String, List<BlockCoordinate>> scattered(LlamaConfig config, int edge) {
        SortedMap<String, List<BlockCoordinate>> selection = new TreeMap<>();
        int seen = 0;
        for (int layer = 1; layer < config.layers(); layer++) {
            for (Projection projection : Projection.values()) {
                long[] shape = config.shape(projection);
                List<BlockCoordinate> blocks = new ArrayList<>();
                for (int row = 0; row < shape[0] / edge; row++) {
                    for (int column = 0; column < shape[1] / edge; column++) {
                        if (seen++ % 5 == 0) {
                            blocks.add(new BlockCoordinate(row, column));
                        }
                    }
                }
                selection.put(projection.tensor(layer), blocks);
            }
        }
        return selection;
    }

    private static LlamaModel open(Golden golden, DType dtype) {
        return LlamaModel.open(Libtorch.load(), new ScalarKernels(), golden.folder(), ModelOptions.of(dtype));
    }

    private static PackedBatch batch(Golden golden) {
        return new PackedBatch(golden.ints("batch.tokens"), golden.ints("batch.targets"), golden.ints("batch.lengths"));
    }

    /** Logits of all positions, the tokens fed one at a time. */
    private static float[] logits(LlamaModel model, int[] tokens) {
        int vocabulary = model.config().vocabularySize();
        float[] all = new float[tokens.length * vocabulary];
        try (LlamaInference inference = new LlamaInference(model); WeightOverlay none = WeightOverlay.none();
                KvCache cache = inference.cache(tokens.length)) {
            for (int position = 0; position < tokens.length; position++) {
                System.arraycopy(inference.decode(tokens[position], cache, none), 0, all, position * vocabulary, vocabulary);
            }
        }
        return all;
    }

    private static int best(float[] logits) {
        int best = 0;
        for (int id = 1; id < logits.length; id++) {
            if (logits[id] > logits[best]) {
                best = id;
            }
        }
        return best;
    }

    /** Norm of the difference over norm of what is expected. */
    static double distance(float[] made, float[] expected) {
        assertThat(made).hasSameSizeAs(expected);
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += Math.pow(made[i] - (double) expected[i], 2);
            norm += (double) expected[i] * expected[i];
        }
        return Math.sqrt(difference / norm);
    }
}
