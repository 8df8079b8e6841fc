package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.LlamaTraining.Activations;
import io.inlay.model.Projection;
import io.inlay.tensor.Device;
import io.inlay.tensor.FreeMemory;
import io.inlay.tuning.TuningMethod.Score;
import io.inlay.tuning.TuningMethod.Smt;
import io.inlay.tuning.TuningMethod.Strategy;
import io.inlay.tuning.WarmUpPlacement.Passes;
import java.util.List;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class WarmUpPlacementTest {

    /** 1 MiB of sums and four numbers. */
    private static final BlockGrid GRID = new BlockGrid(256, List.of(new BlockGrid.Matrix("q", 0, Projection.Q, 512, 256),
            new BlockGrid.Matrix("k", 0, Projection.K, 256, 512)));
    private static final long NEEDED = (1 << 20) + 16;
    /** Of one matrix's sum, which comes from the host as a whole. */
    private static final long LARGEST = 1 << 19;
    private static final long KEPT = 100_000;
    private static final long TWICE = 30_000;
    private static final List<Passes> WAYS = List.of(new Passes(Activations.KEEP, 64, KEPT), new Passes(Activations.RECOMPUTE, 64, TWICE));
    private static final Device GPU = Device.cuda(0);

    @Test
    void sums_go_to_the_device_if_they_fit_there_beside_the_passes_however_these_are_made_else_to_the_host() {
        long host = Math.ceilDiv(NEEDED * 4, 3);
        assertThat(choose(GPU, free(NEEDED + KEPT, 0))).isEqualTo(new WarmUpPlacement(WarmUpMemory.DEVICE, NEEDED, NEEDED,
                OptionalLong.of(NEEDED + KEPT), Activations.KEEP));
        assertThat(choose(GPU, free(NEEDED + KEPT - 1, 0))).isEqualTo(new WarmUpPlacement(WarmUpMemory.DEVICE, NEEDED, NEEDED,
                OptionalLong.of(NEEDED + KEPT - 1), Activations.RECOMPUTE));
        assertThat(choose(GPU, free(NEEDED + TWICE, 0)).memory()).isEqualTo(WarmUpMemory.DEVICE);
        assertThat(choose(GPU, free(NEEDED + TWICE - 1, host))).isEqualTo(new WarmUpPlacement(WarmUpMemory.HOST, NEEDED, LARGEST + 16,
                OptionalLong.of(host), Activations.KEEP));
        assertThat(choose(GPU, free(LARGEST + 16 + KEPT - 1, host)).how()).isEqualTo(Activations.RECOMPUTE);
        assertThat(choose(Device.CPU, free(0, NEEDED + KEPT)).how()).isEqualTo(Activations.KEEP);
        assertThat(choose(Device.CPU, free(0, NEEDED + TWICE))).isEqualTo(new WarmUpPlacement(WarmUpMemory.DEVICE, NEEDED, NEEDED,
                OptionalLong.of(NEEDED + TWICE), Activations.RECOMPUTE));
    }

    @Test
    void a_device_that_does_not_say_is_not_trusted_and_a_host_that_does_not_say_is() {
        FreeMemory silent = _ -> OptionalLong.empty();
        assertThat(choose(GPU, silent).memory()).isEqualTo(WarmUpMemory.HOST);
        assertThat(choose(GPU, device -> device.isCpu() ? OptionalLong.empty() : OptionalLong.of(LARGEST + 16 + KEPT)).memory())
                .isEqualTo(WarmUpMemory.HOST);
        assertThat(choose(Device.CPU, silent).memory()).isEqualTo(WarmUpMemory.DEVICE);
    }

    @Test
    void what_fits_nowhere_is_refused_with_the_numbers() {
        refused(() -> choose(GPU, free(NEEDED + TWICE - 1, 1_398_000)), "warm_up_memory is auto, and score mean_abs_sum needs 1,048,592 "
                + "bytes for sums of gradients, and 30,000 on cuda:0 for passes of 64 tokens at a time with layers computed twice; free "
                + "are 1,078,591 on cuda:0 and 1,398,000 on the host, of which sums may take three quarters; name fewer targets, lower "
                + "micro_batch_tokens, free memory, or set score to abs_mean_sum, which needs no sums");
        refused(() -> choose(GPU, free(LARGEST + 16 + TWICE - 1, 1 << 30)), "warm_up_memory is auto, and score mean_abs_sum needs "
                + "1,048,592 bytes for sums of gradients, and 30,000 on cuda:0 for passes of 64 tokens at a time with layers computed "
                + "twice; free are 554,303 on cuda:0 and 1,073,741,824 on the host, of which sums may take three quarters; name fewer "
                + "targets, lower micro_batch_tokens, free memory, or set score to abs_mean_sum, which needs no sums");
        refused(() -> WarmUpPlacement.choose(smt(Score.MEAN_ABS_SUM, WarmUpMemory.AUTO), GRID, false, WAYS.subList(0, 1), Device.CPU,
                free(0, NEEDED + KEPT - 1)), "warm_up_memory is auto, and score mean_abs_sum needs 1,048,592 bytes for sums of gradients, "
                + "and 100,000 on cpu for passes of 64 tokens at a time; free are 1,148,591 on the host; name fewer targets, lower "
                + "micro_batch_tokens, free memory, or set score to abs_mean_sum, which needs no sums");
    }

    @Test
    void a_place_that_is_asked_for_is_taken_whatever_is_free_and_passes_are_made_so_that_they_fit() {
        assertThat(choose(Score.MEAN_ABS_SUM, WarmUpMemory.HOST, false, free(1 << 30, 5))).isEqualTo(new WarmUpPlacement(
                WarmUpMemory.HOST, NEEDED, LARGEST + 16, OptionalLong.of(5), Activations.KEEP));
        assertThat(choose(Score.MEAN_ABS_SUM, WarmUpMemory.DEVICE, false, free(NEEDED + KEPT, 1 << 30)).how()).isEqualTo(Activations.KEEP);
        assertThat(choose(Score.MEAN_ABS_SUM, WarmUpMemory.DEVICE, false, free(7, 1 << 30))).isEqualTo(new WarmUpPlacement(
                WarmUpMemory.DEVICE, NEEDED, NEEDED, OptionalLong.of(7), Activations.RECOMPUTE));
    }

    @Test
    void a_per_step_score_streams_unless_a_steps_batch_comes_in_parts() {
        assertThat(choose(Score.MEAN_ABS_PER_STEP, WarmUpMemory.STREAM, false, free(0, 0)))
                .isEqualTo(new WarmUpPlacement(WarmUpMemory.STREAM, 16, 16, OptionalLong.empty(), Activations.KEEP));
        refused(() -> choose(Score.MEAN_ABS_PER_STEP, WarmUpMemory.STREAM, true, free(1 << 30, 1 << 30)), "warm_up_memory is stream, and "
                + "score mean_abs_per_step needs the whole gradient of a step, but a warm-up step's batch has more tokens than "
                + "micro_batch_tokens and comes in parts; raise micro_batch_tokens, lower batch_size, or set warm_up_memory to auto, "
                + "device or host");
        assertThat(choose(Score.ABS_MEAN_SUM, WarmUpMemory.STREAM, true, free(0, 0)).memory()).isEqualTo(WarmUpMemory.STREAM);
    }

    private static WarmUpPlacement choose(Device device, FreeMemory free) {
        return WarmUpPlacement.choose(smt(Score.MEAN_ABS_SUM, WarmUpMemory.AUTO), GRID, false, WAYS, device, free);
    }

    private static WarmUpPlacement choose(Score score, WarmUpMemory memory, boolean split, FreeMemory free) {
        return WarmUpPlacement.choose(smt(score, memory), GRID, split, WAYS, GPU, free);
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
