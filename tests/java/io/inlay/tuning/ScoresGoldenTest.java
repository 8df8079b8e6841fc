package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.GradientProbe;
import io.inlay.model.LlamaModel;
import io.inlay.model.LlamaTraining;
import io.inlay.model.ModelOptions;
import io.inlay.model.PackedBatch;
import io.inlay.model.Projection;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every block's score after a whole warm-up in fp32, against PyTorch's full gradients: see tests/golden/scores. */
class ScoresGoldenTest {

    private static JsonNode run;
    private static JsonNode golden;
    private static LlamaModel model;

    @BeforeAll
    static void open() throws IOException {
        run = new ObjectMapper().readTree(Path.of("tests/golden/tuning/golden.json").toFile());
        golden = new ObjectMapper().readTree(Path.of("tests/golden/scores/scores.json").toFile());
        model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Path.of("tests/golden/tuning/model"), ModelOptions.of(DType.FP32));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @ParameterizedTest
    @CsvSource({"MEAN_ABS_SUM, DEVICE, 1000", "MEAN_ABS_SUM, HOST, 1000", "MEAN_ABS_SUM, HOST, 24", "ABS_MEAN_SUM, STREAM, 1000",
            "ABS_MEAN_SUM, STREAM, 24", "MEAN_ABS_PER_STEP, STREAM, 1000", "MEAN_ABS_PER_STEP, DEVICE, 24", "MEAN_ABS_PER_STEP, HOST, 24"})
    void a_score_of_every_linears_blocks_is_what_pytorchs_full_gradients_give(Score score, WarmUpMemory memory, int microBatchTokens) {
        JsonNode expected = golden.get(score.name().toLowerCase(Locale.ROOT));
        float[] scores = scores(score, memory, microBatchTokens);
        assertThat(scores).hasSize(expected.size());
        double largest = IntStream.range(0, expected.size()).mapToDouble(i -> expected.get(i).doubleValue()).max().orElseThrow();
        for (int block = 0; block < scores.length; block++) {
            // A signed mean may be much smaller than what it is the mean of; the second bound is for these.
            double value = expected.get(block).doubleValue();
            assertThat((double) scores[block]).as("block %d", block).isCloseTo(value, within(1e-4 * value + 1e-6 * largest));
        }
    }

    private static float[] scores(Score score, WarmUpMemory memory, int microBatchTokens) {
        Smt smt = new Smt(0.01, OptionalInt.of(run.get("edge").intValue()), EnumSet.allOf(Projection.class), 1, score,
                new TuningMethod.Strategy.Global());
        BlockGrid grid = TuningPlan.of(model.config(), TuningParameters.of(smt).build(), 1).blocks().orElseThrow().grid();
        BatchOrder order = new BatchOrder(examples(), run.get("batch").intValue(), run.get("seed").longValue());
        try (BlockScores scores = new BlockScores(model.torch(), model.kernels(), model.device(), grid, score, memory);
                LlamaTraining training = new LlamaTraining(model, new GradientProbe(scores.tensors(), scores::accept))) {
            for (int step = 0; step < run.get("warm_up_steps").intValue(); step++) {
                PackedBatch batch = Packing.pack(order.batch(step));
                List<PackedBatch> parts = Packing.split(batch, microBatchTokens);
                scores.beginStep(parts.size());
                parts.forEach(part -> training.forwardBackward(part, 1f / batch.targetCount()));
                scores.endStep();
            }
            return scores.scores();
        }
    }

    private static List<TuningExample> examples() {
        List<TuningExample> examples = new ArrayList<>();
        for (JsonNode example : run.get("examples")) {
            int[] tokens = IntStream.range(0, example.get("tokens").size()).map(i -> example.get("tokens").get(i).intValue()).toArray();
            examples.add(new TuningExample(tokens, example.get("prompt").intValue()));
        }
        return examples;
    }
}
