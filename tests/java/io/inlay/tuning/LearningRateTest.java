package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.inlay.Problem;
import io.inlay.tuning.LearningRate.Shape;
import org.junit.jupiter.api.Test;

class LearningRateTest {

    private static final double EXACT = 1e-15;

    @Test
    void linear_falls_in_equal_steps_to_zero_at_the_end() {
        LearningRate rate = LearningRate.linear(0.5);
        assertThat(rate.at(0, 10)).isEqualTo(0.5);
        for (int step = 0; step <= 10; step++) {
            assertThat(rate.at(step, 10)).isCloseTo(0.05 * (10 - step), within(EXACT));
        }
    }

    @Test
    void the_ramp_rises_in_equal_steps_from_zero_to_the_peak() {
        for (Shape shape : Shape.values()) {
            LearningRate rate = new LearningRate(0.8, shape, 4);
            assertThat(new double[] {rate.at(0, 20), rate.at(1, 20), rate.at(2, 20), rate.at(3, 20), rate.at(4, 20)})
                    .as(shape.name()).containsExactly(new double[] {0, 0.2, 0.4, 0.6, 0.8}, within(EXACT));
        }
    }

    @Test
    void linear_after_a_ramp_is_what_transformers_computes() {
        LearningRate rate = new LearningRate(1, Shape.LINEAR, 5);
        // max(0, (total - step) / max(1, total - warmup))
        assertThat(rate.at(5, 25)).isEqualTo(1);
        assertThat(rate.at(15, 25)).isCloseTo(10.0 / 20, within(EXACT));
        assertThat(rate.at(24, 25)).isCloseTo(1.0 / 20, within(EXACT));
    }

    @Test
    void cosine_passes_through_a_half_in_the_middle_and_ends_at_zero() {
        LearningRate rate = new LearningRate(1, Shape.COSINE, 10);
        assertThat(rate.at(10, 110)).isEqualTo(1);
        assertThat(rate.at(35, 110)).isCloseTo((1 + Math.sqrt(0.5)) / 2, within(EXACT));
        assertThat(rate.at(60, 110)).isCloseTo(0.5, within(EXACT));
        assertThat(rate.at(110, 110)).isCloseTo(0, within(EXACT));
    }

    @Test
    void constant_stays_at_the_peak() {
        assertThat(LearningRate.constant(3e-4).at(0, 7)).isEqualTo(3e-4);
        assertThat(LearningRate.constant(3e-4).at(6, 7)).isEqualTo(3e-4);
    }

    @Test
    void a_ramp_as_long_as_the_run_or_longer_never_divides_by_zero() {
        assertThat(new LearningRate(1, Shape.LINEAR, 4).at(4, 4)).isEqualTo(1);
        assertThat(new LearningRate(1, Shape.COSINE, 9).at(3, 4)).isCloseTo(3.0 / 9, within(EXACT));
    }

    @Test
    void a_rate_of_zero_below_zero_or_not_a_number_is_refused_by_name() {
        for (double peak : new double[] {0, -1e-4, Double.NaN, 1.5}) {
            assertThatThrownBy(() -> LearningRate.linear(peak)).isInstanceOf(Problem.class)
                    .hasMessage("learning_rate is " + peak + "; it must be over 0.0 and at most 1.0");
        }
        assertThatThrownBy(() -> new LearningRate(1e-4, Shape.LINEAR, -1)).isInstanceOf(Problem.class)
                .hasMessage("ramp_steps is -1; it must be 0 to 1000000");
    }
}
