package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.tensor.Device;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class TestedDeviceTest {

    private static final Optional<String> WHY = Optional.of("cuda:0 cannot be used: no driver");

    @Test
    void a_gpu_is_tested_where_it_is_there() {
        assertThat(TestedDevice.choose("auto", false, _ -> Optional.empty())).isEqualTo(Device.cuda(0));
        assertThat(TestedDevice.choose("cuda:1", true, _ -> Optional.empty())).isEqualTo(Device.cuda(1));
        assertThat(TestedDevice.choose("auto", false, _ -> WHY)).isEqualTo(Device.CPU);
    }

    @Test
    void a_missing_gpu_is_a_failure_where_one_is_required_or_named() {
        assertThatThrownBy(() -> TestedDevice.choose("auto", true, _ -> WHY)).isInstanceOf(IllegalStateException.class)
                .hasMessage("INLAY_REQUIRE_GPU is 1, and there is no GPU to test: cuda:0 cannot be used: no driver");
        assertThatThrownBy(() -> TestedDevice.choose("cuda:0", false, _ -> WHY)).isInstanceOf(Problem.class)
                .hasMessage("cuda:0 cannot be used: no driver");
    }

    @Test
    void who_asks_for_the_cpu_gets_it() {
        assertThat(TestedDevice.choose("cpu", true, _ -> Optional.empty())).isEqualTo(Device.CPU);
    }
}
