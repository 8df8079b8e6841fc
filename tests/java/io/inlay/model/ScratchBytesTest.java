package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What passes take is what was computed before, to the byte. */
class ScratchBytesTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final int EDGE = 16;

    @ParameterizedTest
    @CsvSource({"BF16, KEEP", "BF16, RECOMPUTE", "FP32, KEEP", "FP32, RECOMPUTE"})
    void a_training_pass_takes_what_was_computed(DType type, Activations activations) {
        String query = Projection.Q.tensor(0);
        int[] tokens = new SplittableRandom(1).ints(60, 5, 500).toArray();
        int[] targets = new int[tokens.length];
        Arrays.fill(targets, 7);
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), FOLDER, ModelOptions.of(type));
                TrainableBlocks blocks = new TrainableBlocks(model, EDGE,
                        new TreeMap<>(Map.of(query, List.of(new BlockCoordinate(0, 0), new BlockCoordinate(1, 1)))));
                LlamaTraining training = new LlamaTraining(model, blocks, activations)) {
            training.forwardBackward(new PackedBatch(tokens, targets, new int[] {40, 20}), 1);
            ScratchBytes scratch = new ScratchBytes(model.config(), type);
            long[] shape = model.config().shape(Projection.Q);
            long gradients = (shape[0] * shape[1] + 2L * EDGE * EDGE) * type.bytes();
            long taken = scratch.layers(tokens.length, activations) + scratch.loss(tokens.length) + gradients;
            assertThat(training.workspaceBytes()).isEqualTo(taken);
            training.evaluate(new PackedBatch(tokens, targets, new int[] {60}));
            assertThat(training.workspaceBytes()).isEqualTo(taken + scratch.validation(tokens.length, tokens.length, activations));
            int[] more = new SplittableRandom(2).ints(80, 5, 500).toArray();
            int[] last = new int[more.length];
            Arrays.fill(last, -1);
            last[more.length - 1] = 7;
            training.evaluate(new PackedBatch(more, last, new int[] {80}));
            assertThat(training.workspaceBytes()).isEqualTo(taken + scratch.validation(more.length, tokens.length, activations));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void serving_takes_no_more_than_was_computed_and_not_much_less(DType type) {
        try (LlamaModel model = ModelOnDevice.open(FOLDER, type); LlamaInference inference = new LlamaInference(model);
                KvCache cache = inference.cache(Math.min(model.maxContext(), 2 * inference.cut().most()))) {
            int[] tokens = new SplittableRandom(1).ints(cache.capacity() - 1, 5, 500).toArray();
            inference.prefill(tokens, cache, WeightOverlay.none());
            long held = model.torch().devices().held(HostAsCuda.DEVICE).get("activations");
            long computed = new ScratchBytes(model.config(), type).serving(model.kernels().rowsOfAStep(), inference.cut());
            assertThat(held).isBetween(computed / 4, computed);
        }
    }
}
