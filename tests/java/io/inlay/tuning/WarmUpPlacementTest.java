package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.Projection;
import io.inlay.tensor.Device;
import io.inlay.tensor.FreeMemory;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class WarmUpPlacementTest {

    /** 1 MiB of sums and four numbers. */
    private static final BlockGrid GRID = new BlockGrid(256, List.of(new BlockGrid.Matrix("q", 0, Projection.Q, 512, 512)));
    private static final long NEEDED = (1 << 20) + 16;
    private static final Device GPU = Device.cuda(0);

    @Test
    void sums_go_to_the_device_that_has_room_for_them_in_three_quarters_of_what_is_free() {
        long enough = Math.ceilDiv(NEEDED * 4, 3);
        assertThat(choose(GPU, free(enough, 0))).isEqualTo(new WarmUpPlacement(WarmUpMemory.DEVICE, NEEDED, OptionalLong.of(enough)));
        assertThat(choose(GPU, free(enough - 1, enough))).isEqualTo(new WarmUpPlacement(WarmUpMemory.HOST, NEEDED,
                OptionalLong.of(enough)));
    }

    @Test
    void a_device_that_does_not_say_is_not_trusted_and_a_host_that_does_not_say_is() {
        FreeMemory silent = _ -> OptionalLong.empty();
        assertThat(choose(GPU, silent).memory()).isEqualTo(WarmUpMemory.HOST);
        assertThat(choose(Device.CPU, silent).memory()).isEqualTo(WarmUpMemory.DEVICE);
    }

    @Test
    void what_fits_nowhere_is_refused_with_the_numbers() {
        refused(() -> choose(GPU, free(1000, 1_398_000)), "warm_up_memory is auto, and score mean_abs_sum needs 1,048,592 bytes for sums "
                + "of gradients; free are 1,000 on cuda:0 and 1,398,000 on the host, of which sums may take three quarters; name fewer "
                + "targets, free memory, or set score to abs_mean_sum, which needs no sums");
    }

    @Test
    void what_is_asked_for_is_done_whatever_is_free() {
        assertThat(WarmUpPlacement.choose(smt(Score.MEAN_ABS_SUM, WarmUpMemory.HOST), GRID, false, GPU, free(1 << 30, 5)))
                .isEqualTo(new WarmUpPlacement(WarmUpMemory.HOST, NEEDED, OptionalLong.of(5)));
        assertThat(WarmUpPlacement.choose(smt(Score.MEAN_ABS_SUM, WarmUpMemory.DEVICE), GRID, false, GPU, free(7, 1 << 30)))
                .isEqualTo(new WarmUpPlacement(WarmUpMemory.DEVICE, NEEDED, OptionalLong.of(7)));
    }

    @Test
    void a_per_step_score_streams_unless_a_steps_batch_comes_in_parts() {
        Smt stream = smt(Score.MEAN_ABS_PER_STEP, WarmUpMemory.STREAM);
        assertThat(WarmUpPlacement.choose(stream, GRID, false, GPU, free(0, 0)))
                .isEqualTo(new WarmUpPlacement(WarmUpMemory.STREAM, 16, OptionalLong.empty()));
        refused(() -> WarmUpPlacement.choose(stream, GRID, true, GPU, free(1 << 30, 1 << 30)), "warm_up_memory is stream, and score "
                + "mean_abs_per_step needs the whole gradient of a step, but a warm-up step's batch has more tokens than "
                + "micro_batch_tokens "
                + "and comes in parts; raise micro_batch_tokens, lower batch_size, or set warm_up_memory to auto, device or host");
        assertThat(WarmUpPlacement.choose(smt(Score.ABS_MEAN_SUM, WarmUpMemory.STREAM), GRID, true, GPU, free(0, 0)).memory())
                .isEqualTo(WarmUpMemory.STREAM);
    }

    private static WarmUpPlacement choose(Device device, FreeMemory free) {
        return WarmUpPlacement.choose(smt(Score.MEAN_ABS_SUM, WarmUpMemory.AUTO), GRID, false, device, free);
    }

    private static Smt smt(Score score, WarmUpMemory memory) {
        return new Smt(0.1, OptionalInt.empty(), TuningMethod.ATTENTION, 5, score, new Strategy.Global(), memory);
    }

    private static FreeMemory free(long onDevice, long onHost) {
        return device -> OptionalLong.of(device.isCpu() ? onHost : onDevice);
    }

    private static void refused(Runnable choice, String message) {
        assertThatThrownBy(choice::run).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.INVALID_HYPERPARAMETERS)).hasMessage(message);
    }
}
