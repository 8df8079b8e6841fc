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

/** Against the formulas, on views and on sizes that cores share. */
class WeightDecompositionTest {

    private static final Libtorch TORCH = Libtorch.load();
    private static final int ROWS = 700;
    private static final int COLUMNS = 130;

    private final Scope scope = new Scope(TORCH);
    private final SplittableRandom random = new SplittableRandom(3);
    private final Tensor a = view();
    private final Tensor b = view();
    private final float[] left = Scope.floats(TORCH, a);
    private final float[] right = Scope.floats(TORCH, b);

    @AfterEach
    void free() {
        scope.close();
    }

    private Tensor view() {
        return scope.of(Device.CPU, drawn(ROWS * 140), ROWS, 140).narrow(scope, 1, 4, COLUMNS);
    }

    private float[] drawn(int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    @Test
    void rows_are_multiplied_and_summed() {
        double[] dots = WeightDecomposition.rowDots(a, b);
        for (int row = 0; row < ROWS; row++) {
            double sum = 0;
            for (int k = 0; k < COLUMNS; k++) {
                sum += (double) left[row * COLUMNS + k] * right[row * COLUMNS + k];
            }
            assertThat(dots[row]).isEqualTo(sum);
        }
    }

    @Test
    void columns_and_rows_are_scaled() {
        float[] factors = drawn(COLUMNS);
        Tensor out = scope.empty(DType.FP32, Device.CPU, ROWS, COLUMNS);
        WeightDecomposition.scaleColumns(a, scope.of(Device.CPU, factors, COLUMNS), out);
        float[] byColumn = Scope.floats(TORCH, out);
        double[] rowFactors = new double[ROWS];
        Arrays.setAll(rowFactors, row -> random.nextGaussian());
        WeightDecomposition.scaleRows(a, rowFactors);
        float[] byRow = Scope.floats(TORCH, a);
        for (int i = 0; i < left.length; i++) {
            assertThat(byColumn[i]).isEqualTo(left[i] * factors[i % COLUMNS]);
            assertThat(byRow[i]).isEqualTo((float) (left[i] * rowFactors[i / COLUMNS]));
        }
    }

    @Test
    void columns_are_multiplied_summed_divided_and_added() {
        float[] norms = drawn(COLUMNS);
        Tensor sums = scope.of(Device.CPU, new float[COLUMNS], COLUMNS);
        Tensor divisor = scope.of(Device.CPU, norms, COLUMNS);
        WeightDecomposition.addColumnDots(a, b, divisor, sums);
        WeightDecomposition.addColumnDots(a, b, divisor, sums);
        float[] twice = Scope.floats(TORCH, sums);
        for (int o = 0; o < COLUMNS; o++) {
            double sum = 0;
            for (int row = 0; row < ROWS; row++) {
                sum += (double) left[row * COLUMNS + o] * right[row * COLUMNS + o];
            }
            double expected = 2 * sum / norms[o];
            assertThat((double) twice[o]).isCloseTo(expected, within(1e-6 * Math.abs(expected)));
        }
    }

    @Test
    void operands_that_do_not_fit_are_refused() {
        Tensor few = scope.of(Device.CPU, new float[3], 3);
        assertThatThrownBy(() -> WeightDecomposition.scaleColumns(a, few, a)).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("scaleColumns does not fit its operands: [" + a + ", " + few + ", " + a + "]");
        assertThatThrownBy(() -> WeightDecomposition.scaleRows(a, new double[2])).hasMessage("scaleRows by 2 does not fit its operands: ["
                + a + "]");
        assertThatThrownBy(() -> WeightDecomposition.rowDots(a, few)).hasMessageStartingWith("rowDots does not fit its operands: ");
        assertThatThrownBy(() -> WeightDecomposition.addColumnDots(a, b, few, few)).hasMessageStartingWith("addColumnDots does not fit");
    }
}
