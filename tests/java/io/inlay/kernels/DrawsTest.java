package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Drawn tokens, by every implementation: the reference's, to the last bit of a random number. */
class DrawsTest {

    private static final Libtorch TORCH = Libtorch.load();
    private static final int UNTOUCHED = 123_456;

    static Stream<Named<Kernels>> all() {
        return Candidates.named();
    }

    // ---- the largest, and what is refused ----

    @ParameterizedTest
    @MethodSource("all")
    void at_temperature_0_the_lowest_of_the_largest_wins(Kernels kernels) {
        for (int round = 0; round < 8; round++) {
            try (Samples s = new Samples(TORCH, round, 0)) {
                Tensor logits = s.normal(s.between(1, 3), s.between(1, 5000));
                int[] expected = new int[logits.dim(0)];
                float[] values = Scope.floats(TORCH, logits);
                for (int r = 0; r < expected.length; r++) {
                    for (int v = 0; v < logits.dim(1); v++) {
                        expected[r] = values[r * logits.dim(1) + v] > values[r * logits.dim(1) + expected[r]] ? v : expected[r];
                    }
                }
                assertThat(draw(kernels, s, logits, alike(expected.length, Draw.GREEDY))).containsExactly(expected);
            }
        }
        try (Samples s = new Samples(TORCH, 0, 0)) {
            float[] values = new float[3000];
            values[1234] = values[1235] = values[17] = values[2999] = 3;
            assertThat(draw(kernels, s, s.dense(DType.FP32, values, 1, 3000), List.of(Draw.GREEDY))).containsExactly(17);
            Arrays.fill(values, -0f);
            values[2000] = 0;
            assertThat(draw(kernels, s, s.dense(DType.FP32, values, 1, 3000), List.of(Draw.GREEDY))).as("both zeros").containsExactly(0);
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void the_first_that_is_no_logit_is_told(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 0, 0)) {
            float[] values = new float[4 * 2000];
            values[1500] = Float.NaN;
            values[700] = Float.POSITIVE_INFINITY;
            values[2000 + 1999] = Float.NaN;
            Arrays.fill(values, 4000, 6000, Float.NEGATIVE_INFINITY);
            Arrays.fill(values, 6000, 8000, Float.NEGATIVE_INFINITY);
            values[7999] = -5;
            for (Draw draw : List.of(Draw.GREEDY, new Draw(1, 0, 1, 0, 9), new Draw(0.5, 20, 0.9, 0.1, -9))) {
                assertThat(draw(kernels, s, s.dense(DType.BF16, values, 4, 2000), alike(4, draw))).containsExactly(-701, -2000, -1, 1999);
                assertThat(kernels.draw(Arrays.copyOfRange(values, 2000, 4000), draw)).isEqualTo(-2000);
            }
        }
    }

    // ---- all implementations are the reference ----

    @ParameterizedTest
    @MethodSource("all")
    void tokens_are_those_of_the_reference_and_rows_without_a_draw_are_left_alone(Kernels kernels) {
        for (int round = 0; round < 60; round++) {
            SplittableRandom random = new SplittableRandom(round);
            try (Samples s = new Samples(TORCH, round, 0)) {
                int rows = s.between(1, 4);
                int width = round % 5 == 0 ? s.width() : s.between(1, 10_000);
                Tensor logits = logits(s, random, rows, width);
                List<Draw> draws = new ArrayList<>();
                for (int r = 0; r < rows; r++) {
                    draws.add(random.nextInt(6) == 0 ? null : draw(random, width));
                }
                float[] values = Scope.floats(TORCH, logits);
                int[] drawn = draw(kernels, s, logits, draws);
                for (int r = 0; r < rows; r++) {
                    float[] row = Arrays.copyOfRange(values, r * width, (r + 1) * width);
                    int expected = draws.get(r) == null ? UNTOUCHED : ScalarDraws.draw(row, draws.get(r));
                    assertThat(drawn[r]).as("round %d, row %d of %s by %s", round, r, logits, draws.get(r)).isEqualTo(expected);
                    if (draws.get(r) != null) {
                        assertThat(kernels.draw(row, draws.get(r))).as("the same on the host, round %d", round).isEqualTo(expected);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void each_kept_token_has_the_random_numbers_that_its_weight_gives_it_and_no_others(Kernels kernels) {
        for (int round = 0; round < 16; round++) {
            SplittableRandom random = new SplittableRandom(100 + round);
            try (Samples s = new Samples(TORCH, round, 0)) {
                int width = s.between(2, 40);
                float[] logits = Scope.floats(TORCH, logits(s, random, 1, width));
                Draw settings = draw(random, width);
                if (settings.greedy()) {
                    continue;
                }
                int[] kept = ScalarDraws.kept(logits, settings);
                long[] weights = ScalarDraws.weights(logits, settings.scale());
                long total = Arrays.stream(kept).mapToLong(v -> weights[v]).sum();
                List<Draw> draws = new ArrayList<>();
                List<Integer> expected = new ArrayList<>();
                long before = 0;
                for (int id : kept) {
                    if (weights[id] > 0) {
                        draws.add(with(settings, firstRandom(before, total)));
                        draws.add(with(settings, firstRandom(before + weights[id], total) - 1));
                        expected.addAll(List.of(id, id));
                        before += weights[id];
                    }
                }
                float[] rows = new float[draws.size() * width];
                for (int r = 0; r < draws.size(); r++) {
                    System.arraycopy(logits, 0, rows, r * width, width);
                }
                assertThat(draw(kernels, s, s.dense(DType.FP32, rows, draws.size(), width), draws)).as("round %d by %s", round, settings)
                        .containsExactly(expected.stream().mapToInt(id -> id).toArray());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void a_large_vocabulary_is_drawn_from_as_by_the_reference(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 0, 0)) {
            int width = 128_256;
            List<Draw> draws = List.of(new Draw(1, 0, 1, 0, 1L << 62), new Draw(0.7, 50, 0.9, 0, -7), new Draw(1, 0, 0.9, 0, 77L << 50),
                    new Draw(1.5, 20_000, 0.99, 0.001, -1));
            Tensor logits = s.normal(DType.FP32, 2.5, draws.size(), width);
            float[] values = Scope.floats(TORCH, logits);
            int[] expected = new int[draws.size()];
            Arrays.setAll(expected, r -> ScalarDraws.draw(Arrays.copyOfRange(values, r * width, (r + 1) * width), draws.get(r)));
            assertThat(draw(kernels, s, logits, draws)).containsExactly(expected);
            assertThat(expected).doesNotHaveDuplicates();
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void operands_that_do_not_fit_are_refused(Kernels kernels) {
        try (Samples s = new Samples(TORCH, 1, 0)) {
            Tensor logits = s.normal(2, 10);
            Tensor ids = s.integers(2, 10);
            assertThatThrownBy(() -> kernels.draw(logits, List.of(Draw.GREEDY), ids)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("draw: each row must have a draw or null, there are 1; given logits");
            assertThatThrownBy(() -> kernels.draw(logits, alike(2, Draw.GREEDY), s.integers(3, 10)))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith("draw: ids must be int32 [R]");
            assertThatThrownBy(() -> kernels.draw(s.empty(DType.BF16, 1, Draw.MOST_LOGITS + 1), alike(1, Draw.GREEDY), ids))
                    .isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith("draw: a row must have 1 to 4194304 logits");
            assertThatThrownBy(() -> kernels.draw(new float[0], Draw.GREEDY)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("draw: a row must have 1 to 4194304 logits, not 0");
        }
    }

    // ---- samples ----

    /** Normal, or in coarse steps with many ties, or equal but for a few, or with most of them masked. */
    private static Tensor logits(Samples s, SplittableRandom random, int rows, int width) {
        Tensor logits = s.normal(s.dtype(), random.nextBoolean() ? 2.5 : 10, rows, width);
        float[] values = Scope.floats(TORCH, logits);
        int kind = random.nextInt(5);
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (kind) {
                case 0 -> Math.round(values[i]) * 0.5f;
                case 1 -> random.nextInt(100) == 0 ? values[i] : -0f;
                case 2 -> random.nextInt(10) == 0 || i % width == width / 2 ? values[i] : Float.NEGATIVE_INFINITY;
                default -> values[i];
            };
        }
        TORCH.copy(logits, s.scope().of(Device.CPU, values, rows, width));
        return logits;
    }

    private static Draw draw(SplittableRandom random, int width) {
        double temperature = new double[] {0, 1e-300, 0.01, 0.3, 0.7, 1, 1, 1, 1.3, 10, 100}[random.nextInt(11)];
        int topK = random.nextInt(3) > 0 ? 0 : random.nextInt(4) > 0 ? 1 + random.nextInt(60) : 1 + random.nextInt(2 * width);
        double topP = new double[] {1, 1, 0, 1e-9, 0.1, 0.5, 0.9, 0.95, 0.999, 1 - 1e-12}[random.nextInt(10)];
        double minP = new double[] {0, 0, 0, 1e-12, 0.001, 0.1, 0.5, 1}[random.nextInt(8)];
        return new Draw(temperature, topK, topP, minP, random.nextLong());
    }

    private static Draw with(Draw draw, long random) {
        return new Draw(draw.temperature(), draw.topK(), draw.topP(), draw.minP(), random);
    }

    /** The least random number, unsigned, whose place below {@code total} is {@code place}; that of {@code total} itself is 0. */
    private static long firstRandom(long place, long total) {
        BigInteger[] parts = BigInteger.valueOf(place).shiftLeft(64).divideAndRemainder(BigInteger.valueOf(total));
        return parts[0].add(parts[1].signum() > 0 ? BigInteger.ONE : BigInteger.ZERO).longValue();
    }

    private static List<Draw> alike(int rows, Draw draw) {
        return Collections.nCopies(rows, draw);
    }

    private static int[] draw(Kernels kernels, Samples s, Tensor logits, List<Draw> draws) {
        int[] result = new int[logits.dim(0)];
        Arrays.fill(result, UNTOUCHED);
        Tensor ids = s.scope().of(Device.CPU, result, logits.dim(0));
        kernels.draw(logits, draws, ids);
        for (int r = 0; r < result.length; r++) {
            result[r] = ids.segment().get(JAVA_INT_UNALIGNED, 4L * r);
        }
        return result;
    }
}
