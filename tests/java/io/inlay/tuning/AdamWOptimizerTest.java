package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.inlay.kernels.CpuKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class AdamWOptimizerTest {

    private static Libtorch torch;

    private Scope scope;

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @BeforeEach
    void open() {
        scope = new Scope(torch);
    }

    @AfterEach
    void close() {
        scope.close();
    }

    @Test
    void the_first_step_moves_every_value_by_the_learning_rate_against_its_gradients_sign() {
        Tensor weight = scope.of(Device.CPU, new float[] {1, -2, 3}, 3);
        Tensor gradient = scope.of(Device.CPU, new float[] {0.5f, -4, 1e-3f}, 3);
        try (AdamWOptimizer optimizer = optimizer(AdamWSettings.DEFAULT, slot(gradient, weight, true))) {
            optimizer.step(0.01, 1);
        }
        assertThat(Scope.floats(torch, weight)).containsExactly(new float[] {0.99f, -1.99f, 2.99f}, within(1e-6f));
    }

    @Test
    void updates_that_vanish_in_bf16_add_up_in_the_masters() {
        Tensor weight = scope.copyTo(scope.of(Device.CPU, new float[] {1, 1}, 2), DType.BF16, Device.CPU);
        Tensor gradient = scope.of(Device.CPU, new float[] {-1, 1}, 2);
        try (AdamWOptimizer optimizer = optimizer(AdamWSettings.DEFAULT, slot(gradient, weight, true))) {
            optimizer.step(1e-3, 1);
            // Next to 1 the bf16 values lie 0.0078 above and 0.0039 below.
            assertThat(Scope.floats(torch, weight)).containsExactly(1, 1);
            for (int step = 0; step < 15; step++) {
                optimizer.step(1e-3, 1);
            }
        }
        assertThat(Scope.floats(torch, weight)).containsExactly(new float[] {1.015625f, 0.984375f});
    }

    @Test
    void decay_moves_matrices_and_leaves_vectors() {
        AdamWSettings settings = new AdamWSettings(0.9, 0.95, 1e-8, 0.5);
        Tensor matrix = scope.of(Device.CPU, new float[] {1, 2}, 1, 2);
        Tensor vector = scope.of(Device.CPU, new float[] {1, 2}, 2);
        Tensor none = scope.zeros(DType.FP32, Device.CPU, 2);
        try (AdamWOptimizer optimizer = optimizer(settings, slot(none, matrix, true), slot(none, vector, false))) {
            optimizer.step(0.1, 1);
        }
        assertThat(Scope.floats(torch, matrix)).containsExactly(new float[] {0.95f, 1.9f}, within(1e-6f));
        assertThat(Scope.floats(torch, vector)).containsExactly(1, 2);
    }

    @Test
    void the_gradient_norm_is_of_all_gradients_as_one_vector() {
        Tensor first = scope.of(Device.CPU, new float[] {3, 0}, 2);
        Tensor second = scope.of(Device.CPU, new float[] {0, 4}, 2);
        try (AdamWOptimizer optimizer = optimizer(AdamWSettings.DEFAULT, slot(first, scope.zeros(DType.FP32, Device.CPU, 2), true),
                slot(second, scope.zeros(DType.FP32, Device.CPU, 2), true))) {
            assertThat(optimizer.gradientNorm()).isEqualTo(5);
        }
    }

    @Test
    void the_gradient_norm_shows_one_value_that_is_not_a_number() {
        Tensor gradient = scope.of(Device.CPU, new float[] {1, Float.NaN, 1}, 3);
        try (AdamWOptimizer optimizer = optimizer(AdamWSettings.DEFAULT, slot(gradient, scope.zeros(DType.FP32, Device.CPU, 3), true))) {
            assertThat(optimizer.gradientNorm()).isNaN();
        }
    }

    @Test
    void a_scaled_gradient_gives_the_same_bits_as_one_that_was_small() {
        Tensor large = scope.of(Device.CPU, new float[] {8, -16, 0.5f}, 3);
        Tensor small = scope.of(Device.CPU, new float[] {2, -4, 0.125f}, 3);
        Tensor first = scope.of(Device.CPU, new float[] {1, 1, 1}, 3);
        Tensor second = scope.of(Device.CPU, new float[] {1, 1, 1}, 3);
        try (AdamWOptimizer scaled = optimizer(AdamWSettings.DEFAULT, slot(large, first, true));
                AdamWOptimizer plain = optimizer(AdamWSettings.DEFAULT, slot(small, second, true))) {
            for (int step = 0; step < 3; step++) {
                scaled.step(0.01, 0.25);
                plain.step(0.01, 1);
            }
        }
        assertThat(Scope.floats(torch, first)).isEqualTo(Scope.floats(torch, second));
    }

    private AdamWOptimizer optimizer(AdamWSettings settings, AdamWOptimizer.Slot... slots) {
        return new AdamWOptimizer(torch, CpuKernels.best(), settings, List.of(slots));
    }

    private static AdamWOptimizer.Slot slot(Tensor gradient, Tensor weight, boolean decays) {
        return new AdamWOptimizer.Slot(gradient, weight, decays);
    }
}
