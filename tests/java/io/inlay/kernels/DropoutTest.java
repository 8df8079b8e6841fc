package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DropoutTest {

    private static final Libtorch TORCH = Libtorch.load();

    private final Scope scope = new Scope(TORCH);

    @AfterEach
    void free() {
        scope.close();
    }

    private Tensor ones(int rows, int columns) {
        float[] values = new float[rows * columns];
        Arrays.fill(values, 1);
        return scope.of(Device.CPU, values, rows, columns);
    }

    private float[] applied(Dropout dropout, Tensor x) {
        Tensor out = scope.empty(x.dtype(), Device.CPU, x.sizes());
        dropout.apply(x, out);
        return Scope.floats(TORCH, out);
    }

    @ParameterizedTest
    @ValueSource(doubles = {0.05, 0.3, 0.75})
    void a_share_of_the_rate_is_dropped_and_the_mean_stays(double rate) {
        float[] out = applied(new Dropout(rate, 1, 2, 3), ones(500, 403));
        double dropped = 0;
        double sum = 0;
        for (float value : out) {
            dropped += value == 0 ? 1 : 0;
            sum += value;
            assertThat(value == 0 || Math.abs(value - 1 / (1 - rate)) < 1e-4).isTrue();
        }
        // Four standard deviations of so many draws.
        double spread = 4 * Math.sqrt(rate * (1 - rate) / out.length);
        assertThat(dropped / out.length).isCloseTo(rate, within(spread));
        assertThat(sum / out.length).isCloseTo(1, within(spread / (1 - rate)));
    }

    @Test
    void every_element_is_the_word_of_a_splittable_random_that_the_class_names() {
        long key = new SplittableRandom(7).nextLong();
        for (long part : new long[] {5, 0, 2}) {
            key = new SplittableRandom(key + part).nextLong();
        }
        SplittableRandom words = new SplittableRandom(key);
        float[] out = applied(new Dropout(0.5, 7, 5, 0, 2), ones(3, 6));
        long word = 0;
        for (int i = 0; i < out.length; i++) {
            word = i % 4 == 0 ? words.nextLong() : word;
            assertThat(out[i]).as("element %d", i).isEqualTo((word >>> 16 * (i % 4) & 0xFFFF) < 32768 ? 0f : 2f);
        }
    }

    @Test
    void the_same_place_draws_the_same_and_every_part_of_it_counts() {
        Tensor x = ones(20, 50);
        float[] first = applied(new Dropout(0.5, 1, 2, 3, 4), x);
        assertThat(applied(new Dropout(0.5, 1, 2, 3, 4), x)).isEqualTo(first);
        for (Dropout other : new Dropout[] {new Dropout(0.5, 9, 2, 3, 4), new Dropout(0.5, 1, 9, 3, 4), new Dropout(0.5, 1, 2, 9, 4),
                new Dropout(0.5, 1, 2, 3, 9), new Dropout(0.5, 1, 3, 2, 4)}) {
            assertThat(applied(other, x)).isNotEqualTo(first);
        }
    }

    @Test
    void neither_type_nor_strides_nor_how_many_cores_share_the_work_change_what_is_dropped() {
        Tensor wide = ones(2000, 120);
        Tensor narrow = wide.narrow(scope, 1, 7, 101);
        float[] small = applied(new Dropout(0.3, 1, 1), ones(2000, 101));
        assertThat(applied(new Dropout(0.3, 1, 1), narrow)).isEqualTo(small);
        float[] bf16 = applied(new Dropout(0.3, 1, 1), scope.copyTo(narrow, DType.BF16, Device.CPU));
        for (int i = 0; i < small.length; i++) {
            assertThat(bf16[i] == 0).isEqualTo(small[i] == 0);
        }
        float[] few = applied(new Dropout(0.3, 1, 1), ones(2, 101));
        assertThat(few).isEqualTo(Arrays.copyOf(small, 202));
    }

    @Test
    void what_is_kept_and_the_rest_add_up_to_the_whole() {
        float[] values = new float[300];
        for (int i = 0; i < values.length; i++) {
            values[i] = i - 150;
        }
        Tensor x = scope.of(Device.CPU, values, 10, 30);
        Dropout dropout = new Dropout(0.3, 1, 1);
        Tensor rest = scope.empty(DType.FP32, Device.CPU, 10, 30);
        dropout.rest(x, rest);
        float[] kept = applied(dropout, x);
        float[] others = Scope.floats(TORCH, rest);
        for (int i = 0; i < values.length; i++) {
            assertThat(kept[i] + others[i]).isCloseTo(values[i], within(1e-4f));
        }
        dropout.apply(x, x);
        assertThat(Scope.floats(TORCH, x)).isEqualTo(kept);
    }

    @Test
    void operands_and_rates_that_do_not_fit_are_refused() {
        Tensor x = ones(2, 3);
        Tensor other = ones(3, 2);
        assertThatThrownBy(() -> new Dropout(0.5, 1).apply(x, other)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("dropout does not fit its operands: " + x + " and " + other);
        assertThatThrownBy(() -> new Dropout(1, 1)).hasMessage("dropout of 1.0; it must be 0 to below 1");
        assertThatThrownBy(() -> new Dropout(Double.NaN, 1)).hasMessage("dropout of NaN; it must be 0 to below 1");
    }
}
