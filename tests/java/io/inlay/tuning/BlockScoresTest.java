package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.kernels.Kernels;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.LlamaTraining;
import io.inlay.model.Projection;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import io.inlay.tuning.TuningMethod.Score;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class BlockScoresTest {

    private static final int EDGE = 4;
    private static final int STEPS = 5;
    private static final BlockGrid GRID = new BlockGrid(EDGE, List.of(new BlockGrid.Matrix("a", 0, Projection.Q, 8, 12),
            new BlockGrid.Matrix("b", 0, Projection.K, 4, 12)));

    private static Libtorch torch;

    private final Kernels kernels = CpuKernels.best();

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @ParameterizedTest
    @EnumSource
    void a_score_equals_its_formula_on_the_full_gradients(Score score) {
        float[][][] gradients = gradients(STEPS);
        double[] expected = direct(score, gradients);
        assertThat(run(score, gradients, 1, DType.FP32)).usingComparatorWithPrecision(1e-6f).containsExactly(toFloats(expected));
    }

    @ParameterizedTest
    @EnumSource
    void splitting_a_steps_batch_does_not_change_the_score(Score score) {
        float[][][] gradients = gradients(STEPS);
        assertThat(run(score, gradients, 3, DType.FP32)).usingComparatorWithPrecision(1e-6f)
                .containsExactly(toFloats(direct(score, gradients)));
    }

    @ParameterizedTest
    @EnumSource
    void bf16_gradients_are_summed_in_fp32(Score score) {
        float[][][] gradients = gradients(STEPS);
        for (float[][] step : gradients) {
            for (float[] matrix : step) {
                for (int i = 0; i < matrix.length; i++) {
                    matrix[i] = Float.intBitsToFloat(Float.floatToRawIntBits(matrix[i]) & 0xFFFF0000);
                }
            }
        }
        assertThat(run(score, gradients, 1, DType.BF16)).usingComparatorWithPrecision(1e-6f)
                .containsExactly(toFloats(direct(score, gradients)));
    }

    @Test
    void opposite_gradients_cancel_in_the_sums_but_not_per_step() {
        float[][][] gradients = gradients(1);
        float[][][] opposite = {gradients[0], {negated(gradients[0][0]), negated(gradients[0][1])}};
        assertThat(run(Score.MEAN_ABS_SUM, opposite, 1, DType.FP32)).containsOnly(0f);
        assertThat(run(Score.ABS_MEAN_SUM, opposite, 1, DType.FP32)).containsOnly(0f);
        assertThat(run(Score.MEAN_ABS_PER_STEP, opposite, 1, DType.FP32)).doesNotContain(0f);
    }

    @Test
    void only_the_papers_score_keeps_whole_gradients() {
        long blocks = 4L * GRID.size();
        long values = 4L * (8 * 12 + 4 * 12);
        assertThat(bytesAfterStep(Score.MEAN_ABS_SUM, 1)).isEqualTo(blocks + values);
        assertThat(bytesAfterStep(Score.ABS_MEAN_SUM, 3)).isEqualTo(blocks);
        assertThat(bytesAfterStep(Score.MEAN_ABS_PER_STEP, 1)).isEqualTo(blocks);
        assertThat(bytesAfterStep(Score.MEAN_ABS_PER_STEP, 3)).isEqualTo(blocks + values);
    }

    @ParameterizedTest
    @EnumSource
    void sums_on_the_host_give_the_same_bits_as_on_the_device(Score score) {
        for (int parts : new int[] {1, 3}) {
            for (DType dtype : new DType[] {DType.FP32, DType.BF16}) {
                float[] device = run(score, gradients(STEPS), parts, dtype, WarmUpMemory.DEVICE);
                float[] host = run(score, gradients(STEPS), parts, dtype, WarmUpMemory.HOST);
                assertThat(host).isEqualTo(device);
            }
        }
    }

    @Test
    void a_score_that_streams_holds_a_number_per_block_and_gives_the_same() {
        for (Score score : List.of(Score.ABS_MEAN_SUM, Score.MEAN_ABS_PER_STEP)) {
            assertThat(run(score, gradients(STEPS), 1, DType.FP32, WarmUpMemory.STREAM))
                    .isEqualTo(run(score, gradients(STEPS), 1, DType.FP32, WarmUpMemory.DEVICE));
        }
        assertThat(run(Score.ABS_MEAN_SUM, gradients(STEPS), 3, DType.FP32, WarmUpMemory.STREAM))
                .isEqualTo(run(Score.ABS_MEAN_SUM, gradients(STEPS), 3, DType.FP32, WarmUpMemory.DEVICE));
    }

    @Test
    void what_was_to_stream_never_takes_memory_for_sums() {
        assertThatThrownBy(() -> run(Score.MEAN_ABS_SUM, gradients(1), 1, DType.FP32, WarmUpMemory.STREAM))
                .isInstanceOf(IllegalStateException.class).hasMessage("score MEAN_ABS_SUM needs a sum of a, but it was to stream");
        assertThatThrownBy(() -> new BlockScores(torch, kernels, Device.CPU, GRID, Score.MEAN_ABS_SUM, WarmUpMemory.AUTO))
                .isInstanceOf(IllegalArgumentException.class).hasMessageEndingWith("WarmUpPlacement chooses");
    }

    @Test
    void as_many_bytes_are_held_as_the_placement_claims() {
        for (Score score : Score.values()) {
            for (int parts : new int[] {1, 3}) {
                TuningMethod.Smt method = new TuningMethod.Smt(0.1, OptionalInt.of(EDGE), TuningMethod.ATTENTION, 1, score,
                        new TuningMethod.Strategy.Global());
                WarmUpPlacement placement = WarmUpPlacement.choose(method, GRID, parts > 1, List.of(
                        new WarmUpPlacement.Passes(LlamaTraining.Activations.KEEP, 1, 0)), Device.CPU, _ -> OptionalLong.of(1 << 20));
                assertThat(bytesAfterStep(score, parts, placement.memory())).isEqualTo(placement.bytes());
            }
        }
    }

    @Test
    void a_gradient_that_is_not_a_number_shows_in_its_blocks_score() {
        float[][][] gradients = gradients(2);
        gradients[1][0][0] = Float.NaN;
        for (Score score : Score.values()) {
            float[] scores = run(score, gradients, 1, DType.FP32);
            assertThat(scores[0]).isNaN();
            assertThat(scores[1]).isFinite();
        }
    }

    @Test
    void a_matrix_that_is_no_target_is_refused() {
        try (BlockScores scores = new BlockScores(torch, kernels, Device.CPU, GRID, Score.MEAN_ABS_SUM); Scope scope = new Scope(torch)) {
            Tensor gradient = scope.zeros(DType.FP32, Device.CPU, 8, 12);
            assertThatThrownBy(() -> scores.accept("c", gradient)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("c is not a target; its gradient is not wanted");
            assertThat(scores.tensors()).containsExactlyInAnyOrder("a", "b");
        }
    }

    private long bytesAfterStep(Score score, int parts) {
        return bytesAfterStep(score, parts, WarmUpMemory.DEVICE);
    }

    private long bytesAfterStep(Score score, int parts, WarmUpMemory memory) {
        try (BlockScores scores = new BlockScores(torch, kernels, Device.CPU, GRID, score, memory)) {
            feed(scores, gradients(1)[0], parts, DType.FP32);
            return scores.bytes();
        }
    }

    private float[] run(Score score, float[][][] gradients, int parts, DType dtype) {
        return run(score, gradients, parts, dtype, WarmUpMemory.DEVICE);
    }

    private float[] run(Score score, float[][][] gradients, int parts, DType dtype, WarmUpMemory memory) {
        try (BlockScores scores = new BlockScores(torch, kernels, Device.CPU, GRID, score, memory)) {
            for (float[][] step : gradients) {
                feed(scores, step, parts, dtype);
            }
            return scores.scores();
        }
    }

    /** One step, its gradient given as that many unequal parts with the same sum. */
    private void feed(BlockScores scores, float[][] step, int parts, DType dtype) {
        scores.beginStep(parts);
        float[] weights = parts == 1 ? new float[] {1} : new float[] {2, -1.5f, 0.5f};
        for (float weight : weights) {
            for (int m = 0; m < step.length; m++) {
                BlockGrid.Matrix matrix = GRID.matrices().get(m);
                try (Scope scope = new Scope(torch)) {
                    float[] values = step[m].clone();
                    for (int i = 0; i < values.length; i++) {
                        values[i] *= weight;
                    }
                    Tensor gradient = scope.of(Device.CPU, values, matrix.rows(), matrix.columns());
                    scores.accept(matrix.tensor(), scope.copyTo(gradient, dtype, Device.CPU));
                }
            }
        }
        scores.endStep();
    }

    private static double[] direct(Score score, float[][][] gradients) {
        double[] scores = new double[GRID.size()];
        for (int m = 0; m < 2; m++) {
            BlockGrid.Matrix matrix = GRID.matrices().get(m);
            for (int block = GRID.start(m); block < GRID.start(m + 1); block++) {
                int top = GRID.coordinate(m, block).row() * EDGE;
                int left = GRID.coordinate(m, block).column() * EDGE;
                double signed = 0;
                double absolute = 0;
                double perStep = 0;
                for (int r = top; r < top + EDGE; r++) {
                    for (int c = left; c < left + EDGE; c++) {
                        double sum = 0;
                        for (float[][] step : gradients) {
                            double g = step[m][r * matrix.columns() + c];
                            sum += g;
                            perStep += Math.abs(g);
                        }
                        signed += sum;
                        absolute += Math.abs(sum);
                    }
                }
                double size = EDGE * EDGE;
                scores[block] = switch (score) {
                    case MEAN_ABS_SUM -> absolute / size;
                    case ABS_MEAN_SUM -> Math.abs(signed / size);
                    case MEAN_ABS_PER_STEP -> perStep / size;
                };
            }
        }
        return scores;
    }

    private static float[][][] gradients(int steps) {
        Random random = new Random(11);
        float[][][] gradients = new float[steps][2][];
        for (float[][] step : gradients) {
            for (int m = 0; m < 2; m++) {
                BlockGrid.Matrix matrix = GRID.matrices().get(m);
                step[m] = new float[matrix.rows() * matrix.columns()];
                for (int i = 0; i < step[m].length; i++) {
                    step[m][i] = (float) random.nextGaussian();
                }
            }
        }
        return gradients;
    }

    private static float[] negated(float[] values) {
        float[] negated = values.clone();
        for (int i = 0; i < negated.length; i++) {
            negated[i] = -negated[i];
        }
        return negated;
    }

    private static float[] toFloats(double[] values) {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) values[i];
        }
        return floats;
    }
}
