package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.LlamaConfig;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.HostAsCudaKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Devices;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import java.nio.file.Path;
import java.util.Locale;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class ServingPlanTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final LlamaConfig CONFIG = LlamaConfig.parse(FOLDER);
    private static final ModelOptions ON_DEVICE = new ModelOptions(DType.BF16, 0, null, HostAsCuda.DEVICE);

    private static ServingPlan plan(String name) {
        return ServingPlan.of(name, CONFIG, ON_DEVICE, 1000, 500);
    }

    @Test
    void a_model_that_does_not_fit_beside_those_before_it_is_refused_with_the_numbers() {
        long one = plan("a").total();
        Libtorch torch = HostAsCuda.withFree(_ -> OptionalLong.of(2 * one - 1));
        assertThat(plan("a").promise(torch.devices(), ON_DEVICE)).isPresent();
        ServingPlan second = plan("b");
        assertThatThrownBy(() -> second.promise(torch.devices(), ON_DEVICE)).isInstanceOf(Problem.class)
                .hasMessage(String.format(Locale.ROOT, "model b needs %,d bytes on cuda:0: %,d for weights, 1,000 for keys and values "
                        + "(inlay.generation.cache-bytes), 500 for deltas (inlay.generation.resident-bytes), %,d for passes; %,d are free; "
                        + "lower one of the two, serve fewer models (inlay.models.names), or set inlay.device to another device", one,
                        second.weights(), second.scratch(), one - 1));
    }

    @Test
    void what_a_model_takes_of_its_promise_is_what_was_planned_for_weights() {
        Libtorch torch = HostAsCuda.withFree(_ -> OptionalLong.of(1L << 30));
        ServingPlan plan = plan("llama31-like");
        Devices.Promise promise = plan.promise(torch.devices(), ON_DEVICE).orElseThrow();
        assertThat(torch.devices().on(HostAsCuda.DEVICE)).hasValue((1L << 30) - plan.total());
        try (LlamaModel model = LlamaModel.open(torch, HostAsCudaKernels.over(CpuKernels.best()), FOLDER, ON_DEVICE)) {
            assertThat(torch.devices().held(HostAsCuda.DEVICE)).containsEntry("weights of llama31-like", plan.weights());
            assertThat(torch.devices().on(model.device())).hasValue((1L << 30) - plan.total() + plan.weights());
        }
        promise.close();
        assertThat(torch.devices().on(HostAsCuda.DEVICE)).hasValue(1L << 30);
    }

    @Test
    void on_the_cpu_budgets_that_are_larger_than_what_is_free_are_warned_of() {
        ModelOptions cpu = new ModelOptions(DType.BF16, 0, null, Device.CPU);
        ServingPlan plan = plan("a");
        long budgets = 1500 + plan.scratch();
        assertThat(plan.doubt(HostAsCuda.withFree(_ -> OptionalLong.of(budgets)).devices(), cpu)).isEmpty();
        assertThat(plan.doubt(HostAsCuda.load().devices(), cpu)).as("where nobody knows what is free").isEmpty();
        assertThat(plan.doubt(HostAsCuda.withFree(_ -> OptionalLong.of(budgets - 1)).devices(), cpu)).hasValue(String.format(Locale.ROOT,
                "model a may take %,d bytes beside its weights: 1,000 for keys and values (inlay.generation.cache-bytes), 500 for deltas "
                + "(inlay.generation.resident-bytes), %,d for passes; only %,d are free; lower one of the two", budgets, plan.scratch(),
                budgets - 1));
    }

    @Test
    void on_the_cpu_nothing_is_promised() {
        ModelOptions cpu = new ModelOptions(DType.BF16, 0, null, Device.CPU);
        assertThat(ServingPlan.of("a", CONFIG, cpu, Long.MAX_VALUE / 4, Long.MAX_VALUE / 4).promise(HostAsCuda.withFree(
                _ -> OptionalLong.of(1)).devices(), cpu)).isEmpty();
    }
}
