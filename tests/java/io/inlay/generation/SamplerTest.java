package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Kernels;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sampling against transformers' warpers (see tests/golden/sampling) and against the distributions that it stands for. */
class SamplerTest {

    private static final Kernels KERNELS = CpuKernels.best();

    // ---- distributions ----

    @Test
    void draws_have_the_probabilities_that_transformers_would_draw_with() throws IOException {
        JsonNode golden = new ObjectMapper().readTree(Path.of("tests/golden/sampling/sampling.json").toFile());
        int checked = 0;
        for (JsonNode each : golden.path("cases")) {
            double[] probabilities = doubles(each.path("probabilities"));
            if (probabilities.length < 2 || each.path("logits").asText().equals("wide")) {
                continue;
            }
            float[] logits = floats(golden.path("logits").path(each.path("logits").asText()));
            int[] kept = ints(each.path("kept"));
            Sampler sampler = sampler(sampling(each.path("temperature").asDouble(), each.path("topP").asDouble(),
                    each.path("topK").asInt(), 1000 + checked));
            assertDistribution(each.toString(), logits, sampler, kept, probabilities);
            checked++;
        }
        assertThat(checked).isGreaterThan(20);
    }

    @Test
    void without_cuts_the_draws_follow_the_softmax() {
        float[] logits = {1, 2, 0.5f, -1, 3, 2.5f, -4};
        for (double temperature : new double[] {0.5, 1, 3}) {
            double[] probabilities = softmax(logits, temperature);
            assertDistribution("temperature " + temperature, logits, sampler(sampling(temperature, 1, 0, 99)),
                    IntStream.range(0, logits.length).toArray(), probabilities);
        }
    }

    @Test
    void the_chi_square_check_notices_a_wrong_temperature() {
        float[] logits = {1, 2, 0.5f, -1, 3, 2.5f, -4};
        assertThatThrownBy(() -> assertDistribution("wrong", logits, sampler(sampling(1.1, 1, 0, 99)),
                IntStream.range(0, logits.length).toArray(), softmax(logits, 1))).isInstanceOf(AssertionError.class);
    }

    // ---- greedy ----

    @Test
    void greedy_takes_the_lowest_id_on_ties() {
        Sampler greedy = sampler(Sampling.GREEDY);
        assertThat(greedy.next(new float[] {-3, 7, 2, 7, 7})).isEqualTo(1);
        assertThat(greedy.next(new float[] {-0f, 0f})).isZero();
        assertThat(greedy.next(new float[] {Float.NEGATIVE_INFINITY, -1e30f})).isEqualTo(1);
    }

    @Test
    void a_vanishing_temperature_is_greedy() {
        float[] logits = {1, 1.001f, 0.5f};
        Sampler cold = sampler(sampling(1e-300, 1, 0, 5));
        for (int i = 0; i < 100; i++) {
            assertThat(cold.next(logits)).isEqualTo(1);
        }
    }

    // ---- determinism ----

    @ParameterizedTest
    @CsvSource({"1, 1, 0", "0.8, 0.9, 0", "1.2, 1, 30", "0.7, 0.8, 40"})
    void a_seed_gives_the_same_draws_again_and_another_seed_others(double temperature, double topP, int topK) {
        float[][] steps = new float[50][];
        SplittableRandom random = new SplittableRandom(3);
        Arrays.setAll(steps, _ -> gaussian(random, 300));
        int[] first = draws(sampler(sampling(temperature, topP, topK, 7)), steps);
        assertThat(draws(sampler(sampling(temperature, topP, topK, 7)), steps)).isEqualTo(first);
        assertThat(draws(sampler(sampling(temperature, topP, topK, 8)), steps)).isNotEqualTo(first);
        assertThat(draws(sampler(new Sampling(temperature, topP, topK, OptionalLong.empty())), steps)).isNotEqualTo(first);
    }

    @Test
    void one_random_number_is_used_for_each_token() {
        float[] logits = {0, 0, 0, 0};
        Sampler sampler = sampler(sampling(1, 1, 0, 42));
        SplittableRandom expected = new SplittableRandom(42);
        for (int i = 0; i < 1000; i++) {
            assertThat(sampler.next(logits)).isEqualTo((int) (expected.nextDouble() * 4));
        }
    }

    // ---- damage ----

    @ParameterizedTest
    @ValueSource(doubles = {0, 1})
    void logits_that_are_no_distribution_are_refused_with_the_models_name(double temperature) {
        Sampler sampler = new Sampler(sampling(temperature, 0.9, 0, 1), "inlay-tiny:task@3", KERNELS);
        assertThatThrownBy(() -> sampler.next(new float[] {1, Float.NaN, 2})).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.NOT_FINITE))
                .hasMessage("model inlay-tiny:task@3 gave NaN as the logit of token 1; its weights are damaged or its fine-tuning diverged: "
                        + "check the files, or train again with a lower learning rate");
        assertThatThrownBy(() -> sampler.next(new float[] {Float.POSITIVE_INFINITY, 1})).isInstanceOf(Problem.class)
                .hasMessageContaining("gave Infinity as the logit of token 0");
        float[] none = {Float.NEGATIVE_INFINITY, Float.NEGATIVE_INFINITY};
        assertThatThrownBy(() -> sampler.next(none)).isInstanceOf(Problem.class)
                .hasMessageContaining("gave -Infinity as the logit of token 0");
    }

    // ---- cost ----

    @Test
    void a_large_vocabulary_is_sampled_without_allocating() {
        float[] logits = gaussian(new SplittableRandom(11), 128_256);
        for (Sampling sampling : new Sampling[] {sampling(1, 1, 0, 1), sampling(1, 0.9, 0, 1), sampling(0.8, 0.9, 50, 1)}) {
            Sampler sampler = sampler(sampling);
            for (int i = 0; i < 5; i++) {
                sampler.next(logits);
            }
            long before = allocated();
            for (int i = 0; i < 20; i++) {
                sampler.next(logits);
            }
            assertThat(allocated() - before).as("%s", sampling).isLessThan(10_000);
        }
    }

    private static long allocated() {
        return ((com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
    }

    // ---- settings ----

    @Test
    void settings_out_of_range_are_refused_by_name() {
        assertThatThrownBy(() -> sampling(-0.1, 1, 0, 1)).isInstanceOf(Problem.class)
                .hasMessage("temperature is -0.1; it must be a number from 0 (greedy) to 100");
        assertThatThrownBy(() -> sampling(Double.NaN, 1, 0, 1)).isInstanceOf(Problem.class).hasMessageStartingWith("temperature is NaN");
        assertThatThrownBy(() -> sampling(Double.POSITIVE_INFINITY, 1, 0, 1)).isInstanceOf(Problem.class);
        assertThatThrownBy(() -> sampling(1, 1.5, 0, 1)).isInstanceOf(Problem.class)
                .hasMessage("top_p is 1.5; it must be a number from 0 to 1 (off)");
        assertThatThrownBy(() -> sampling(1, Double.NaN, 0, 1)).isInstanceOf(Problem.class).hasMessageStartingWith("top_p is NaN");
        assertThatThrownBy(() -> sampling(1, 1, -1, 1)).isInstanceOf(Problem.class)
                .hasMessage("top_k is -1; it must be 0 (off) or a positive number");
    }

    /** Pearson's chi-square over 40,000 draws; bins with fewer than 5 expected draws are put together. */
    private static void assertDistribution(String what, float[] logits, Sampler sampler, int[] ids, double[] probabilities) {
        int draws = 40_000;
        int[] counts = new int[logits.length];
        for (int i = 0; i < draws; i++) {
            counts[sampler.next(logits)]++;
        }
        double statistic = 0;
        int bins = 0;
        double rareExpected = 0;
        int rare = 0;
        int seen = 0;
        for (int i = 0; i < ids.length; i++) {
            double expected = probabilities[i] * draws;
            seen += counts[ids[i]];
            if (expected < 5) {
                rareExpected += expected;
                rare += counts[ids[i]];
            } else {
                statistic += Math.pow(counts[ids[i]] - expected, 2) / expected;
                bins++;
            }
        }
        assertThat(seen).as("draws outside the kept tokens: %s", what).isEqualTo(draws);
        if (rareExpected >= 5) {
            statistic += Math.pow(rare - rareExpected, 2) / rareExpected;
            bins++;
        } else {
            assertThat((double) rare).as(what).isCloseTo(rareExpected, within(20.0));
        }
        double degrees = Math.max(1, bins - 1);
        // Wilson and Hilferty: the cube root of a chi-square over its degrees is about normal; four deviations.
        double bound = degrees * Math.pow(1 - 2 / (9 * degrees) + 4 * Math.sqrt(2 / (9 * degrees)), 3);
        assertThat(statistic).as(what).isLessThan(bound);
    }

    private static Sampling sampling(double temperature, double topP, int topK, long seed) {
        return new Sampling(temperature, topP, topK, OptionalLong.of(seed));
    }

    private static Sampler sampler(Sampling sampling) {
        return new Sampler(sampling, "m", KERNELS);
    }

    private static int[] draws(Sampler sampler, float[][] steps) {
        return Arrays.stream(steps).mapToInt(sampler::next).toArray();
    }

    private static float[] gaussian(SplittableRandom random, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (2.5 * random.nextGaussian());
        }
        return values;
    }

    private static double[] softmax(float[] logits, double temperature) {
        double[] weights = new double[logits.length];
        Arrays.setAll(weights, i -> Math.exp(logits[i] / temperature));
        double total = Arrays.stream(weights).sum();
        return Arrays.stream(weights).map(weight -> weight / total).toArray();
    }

    private static float[] floats(JsonNode array) {
        float[] values = new float[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).isTextual() ? Float.NEGATIVE_INFINITY : (float) array.get(i).asDouble();
        }
        return values;
    }

    private static double[] doubles(JsonNode array) {
        double[] values = new double[array.size()];
        Arrays.setAll(values, i -> array.get(i).asDouble());
        return values;
    }

    private static int[] ints(JsonNode array) {
        int[] values = new int[array.size()];
        Arrays.setAll(values, i -> array.get(i).asInt());
        return values;
    }
}
