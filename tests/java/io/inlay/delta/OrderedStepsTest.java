package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OrderedStepsTest {

    private final SplittableRandom random = new SplittableRandom(6);

    private short[] random(int n) {
        short[] values = new short[n];
        for (int i = 0; i < n; i++) {
            values[i] = (short) random.nextInt(65536);
        }
        return values;
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 31, 32, 33, 100, 4096, 65_537})
    void many_at_a_time_give_what_the_formula_gives_one_by_one(int n) {
        short[] values = random(n);
        short[] bases = random(n);
        short[] folded = new short[n];
        OrderedSteps.fold(values, bases, folded);
        for (int i = 0; i < n; i++) {
            assertThat(folded[i] & 0xFFFF).isEqualTo(OrderedSteps.folded(values[i], bases[i]));
            assertThat(OrderedSteps.unfolded(folded[i] & 0xFFFF, bases[i])).isEqualTo(values[i]);
        }
        OrderedSteps.unfold(folded, bases);
        assertThat(folded).isEqualTo(values);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, 31, 32, 33, 100, 4096, 65_537})
    void numbers_are_split_into_high_and_low_bytes_and_joined_again(int n) {
        short[] numbers = random(n);
        byte[] planes = new byte[2 * n];
        OrderedSteps.split(numbers, n, planes);
        for (int i = 0; i < n; i++) {
            assertThat(planes[i]).isEqualTo((byte) (numbers[i] >> 8));
            assertThat(planes[n + i]).isEqualTo((byte) numbers[i]);
        }
        short[] joined = new short[n];
        OrderedSteps.join(planes, n, joined);
        assertThat(joined).isEqualTo(numbers);
    }
}
