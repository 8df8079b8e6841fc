package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.util.Optional;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DeviceChoiceTest {

    private static final Function<Device, Optional<String>> CPU_ALONE = device -> device.isCpu() ? Optional.empty()
            : Optional.of(device + " cannot be used: there is none");
    private static final Function<Device, Optional<String>> ALL = _ -> Optional.empty();

    @Test
    void auto_is_the_first_gpu_where_all_is_there_and_else_the_cpu_with_the_reason() {
        assertThat(DeviceChoice.of("auto", ALL)).isEqualTo(new DeviceChoice(Device.cuda(0), Optional.empty()));
        assertThat(DeviceChoice.of("auto", CPU_ALONE)).isEqualTo(new DeviceChoice(Device.CPU,
                Optional.of("cuda:0 cannot be used: there is none")));
    }

    @Test
    void what_is_named_is_taken_or_refused() {
        assertThat(DeviceChoice.of("cpu", ALL).device()).isEqualTo(Device.CPU);
        assertThat(DeviceChoice.of("cuda", ALL).device()).isEqualTo(Device.cuda(0));
        assertThat(DeviceChoice.of("cuda:3", ALL).device()).isEqualTo(Device.cuda(3));
        assertThatThrownBy(() -> DeviceChoice.of("cuda:3", CPU_ALONE)).isInstanceOf(Problem.class)
                .hasMessage("cuda:3 cannot be used: there is none");
    }

    @ParameterizedTest
    @ValueSource(strings = {"gpu", "cuda:", "cuda:-1", "CPU", "", "cuda:12345", "cpu:0"})
    void what_names_no_device_is_refused(String text) {
        assertThatThrownBy(() -> DeviceChoice.of(text, ALL)).isInstanceOf(Problem.class)
                .hasMessage("'" + text + "' names no device; name cpu, cuda:0 or another cuda:n");
    }

    @Test
    void the_libtorch_that_inlay_brings_says_how_to_have_a_gpu() {
        assertThat(Libtorch.load().devices().missing(Device.CPU)).isEmpty();
        assertThat(HostAsCuda.load().devices().missing(HostAsCuda.DEVICE)).isEmpty();
    }
}
