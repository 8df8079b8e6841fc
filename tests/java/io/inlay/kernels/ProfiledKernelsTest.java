package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Profile;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ProfiledKernelsTest {

    private static final int EDGE = 64;
    private static final List<BlockCoordinate> BLOCKS = List.of(new BlockCoordinate(0, 1), new BlockCoordinate(1, 0));

    private final Libtorch torch = Libtorch.load();
    private final Profile profile = new Profile();
    private final Scope scope = new Scope(torch);

    @AfterEach
    void free() {
        scope.close();
    }

    @Test
    void gradients_of_blocks_are_timed() {
        long elapsed = blockGradients(new ScalarKernels());
        assertThat(profile.entries()).singleElement().satisfies(entry -> {
            assertThat(entry.operation()).isEqualTo("block gradients");
            assertThat(entry.calls()).isOne();
            assertThat(entry.nanos()).isBetween(1L, elapsed);
            assertThat(entry.bytes()).isEqualTo(2 * 2 * 20 * 2 * EDGE + 2 * 2 * EDGE * EDGE);
            assertThat(entry.operations()).isEqualTo(2L * 20 * 2 * EDGE * EDGE);
        });
    }

    @Test
    void products_that_libtorch_has_timed_are_not_counted_again() {
        torch.profiledBy(profile);
        long elapsed = blockGradients(new VectorKernels(1));
        assertThat(profile.entries()).extracting(Profile.Entry::operation).containsExactlyInAnyOrder("mm 64 x 20 x 64", "block gradients");
        assertThat(profile.entries()).extracting(Profile.Entry::operations).containsExactlyInAnyOrder(2L * 20 * 2 * EDGE * EDGE, 0L);
        assertThat(profile.nanos()).isBetween(1L, elapsed);
    }

    /** What the call took. */
    private long blockGradients(Kernels kernels) {
        Tensor rows = scope.zeros(DType.BF16, Device.CPU, 20, 2 * EDGE);
        Tensor gradients = scope.empty(DType.BF16, Device.CPU, 2, EDGE, EDGE);
        Kernels profiled = new ProfiledKernels(kernels, profile);
        profile.reset();
        long start = System.nanoTime();
        profiled.blockGradients(rows, rows, BLOCKS, EDGE, gradients);
        return System.nanoTime() - start;
    }
}
