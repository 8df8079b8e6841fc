package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class BFloat16Test {

    @Test
    void every_pattern_that_is_a_number_survives_a_round_trip() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = BFloat16.toFloat((short) bits);
            if (value == value) {
                assertThat(BFloat16.fromFloat(value)).isEqualTo((short) bits);
            } else {
                assertThat(BFloat16.toFloat(BFloat16.fromFloat(value))).isNaN();
            }
        }
    }

    @Test
    void rounding_is_libtorchs_on_ties_denormals_overflow_and_everything_between() {
        Libtorch torch = Libtorch.load();
        float[] values = new float[1 << 20];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(i << 12 | (i & 1) * 0x800 | i >>> 3 & 1);
        }
        try (Scope scope = new Scope(torch)) {
            Tensor rounded = scope.copyTo(scope.of(Device.CPU, values, values.length), DType.BF16, Device.CPU);
            short[] expected = rounded.segment().toArray(ValueLayout.JAVA_SHORT);
            for (int i = 0; i < values.length; i++) {
                if (values[i] == values[i]) {
                    assertThat(BFloat16.fromFloat(values[i])).as("%s", values[i]).isEqualTo(expected[i]);
                }
            }
        }
    }
}
