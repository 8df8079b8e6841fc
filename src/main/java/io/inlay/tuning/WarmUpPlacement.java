package io.inlay.tuning;

import io.inlay.model.LlamaTraining.Activations;
import io.inlay.tensor.Device;
import io.inlay.tensor.FreeMemory;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * Where a run's warm-up sums will live and how its passes are made, so that both fit into memory: known before either is allocated.
 *
 * <p>Sums of whole gradients are 4 bytes for each value of the targets: 6.4 GB for q, k and v of LLaMA-7B, 3.2 GB for LLaMA-3-8B's, 26
 * GB for all linears of the former. What else a warm-up adds up is a number per block, 98 KB for the first of these, which stays on the
 * device.
 *
 * <p>What is tried first costs least; all of it leaves the same bits. Layers are computed twice before sums leave the device. In a pass of
 * N tokens through P values the former takes 2 P N operations: 0.07 s for LLaMA-7B and 2,048 tokens at 400 TFLOP/s. The latter brings
 * every gradient of q, k and v to the host, 3.2 GB or 0.16 s at 20 GB/s, and adds it there, which moves 16 GB, 0.3 s at 50 GB/s: as much
 * as computing twice takes for 14,000 tokens at a time.
 *
 * @param memory {@code DEVICE}, {@code HOST} or {@code STREAM}
 * @param bytes that {@link BlockScores} will hold: a number per block, and the sums of whole gradients if the score needs them
 * @param onDevice bytes of these on the model's device, with what comes there of the host's at a time
 * @param freeBytes of the memory chosen, when it was looked at and says
 * @param how the warm-up's passes are made
 */
public record WarmUpPlacement(WarmUpMemory memory, long bytes, long onDevice, OptionalLong freeBytes, Activations how) {

    /** Of the host's free memory, sums of a device's gradients take this much at most: what else runs there needs room too. */
    private static final double MOST_OF_HOST = 0.75;

    /**
     * A way to make the warm-up's passes.
     *
     * @param tokens at a time, at most
     * @param bytes of scratch memory on the device, logits and a weight's gradient included
     */
    public record Passes(Activations how, int tokens, long bytes) {
    }

    /**
     * Chooses. Left open ({@code AUTO}), a score that needs no sums streams; sums go to the device if they fit there beside the passes,
     * made in any of the ways, else to the host. A place that is asked for is taken whatever is free, and only the passes are chosen to
     * fit. Without sums a warm-up takes less than training, which has been seen to fit.
     *
     * @param split whether some warm-up step's batch goes through the model in parts
     * @param ways to make the passes, the quickest first and the smallest last
     * @throws io.inlay.Problem {@code INVALID_HYPERPARAMETERS} when there is room nowhere, or a score that must stream cannot
     */
    public static WarmUpPlacement choose(TuningMethod.Smt method, BlockGrid grid, boolean split, List<Passes> ways, Device device,
            FreeMemory free) {
        requireStreamable(method, split);
        long numbers = 4L * grid.size();
        if (!needsSums(method.score(), split)) {
            return new WarmUpPlacement(WarmUpMemory.STREAM, numbers, numbers, OptionalLong.empty(), ways.getFirst().how());
        }
        long sums = sumBytes(grid.matrices());
        OptionalLong onHost = free.on(Device.CPU);
        Room room = new Room(numbers, sums, grid, ways, device, device.isCpu() ? onHost : free.on(device), onHost);
        return switch (method.warmUpMemory()) {
            case AUTO -> room.best().orElseThrow(() -> room.refusal(method.score()));
            case DEVICE, HOST -> room.in(method.warmUpMemory()).orElseGet(() -> room.in(method.warmUpMemory(), ways.getLast()));
            case STREAM -> throw new AssertionError("streaming was checked");
        };
    }

    /** What there is for sums and passes; {@code onHost} is {@code onDevice} where the device is the CPU. */
    private record Room(long numbers, long sums, BlockGrid grid, List<Passes> ways, Device device, OptionalLong onDevice,
            OptionalLong onHost) {

        Optional<WarmUpPlacement> best() {
            // A device that does not say is not trusted with what may not fit; a host that does not say is all there is.
            Optional<WarmUpPlacement> best = device.isCpu() || onDevice.isPresent() ? in(WarmUpMemory.DEVICE) : Optional.empty();
            boolean host = !device.isCpu() && (onHost.isEmpty() || numbers + sums <= MOST_OF_HOST * onHost.getAsLong());
            return best.isEmpty() && host ? in(WarmUpMemory.HOST) : best;
        }

        /** With the quickest passes that fit on the device beside what it has of such sums. */
        Optional<WarmUpPlacement> in(WarmUpMemory memory) {
            return ways.stream().filter(passes -> onDevice.isEmpty() || onDevice(memory) + passes.bytes() <= onDevice.getAsLong())
                    .findFirst().map(passes -> in(memory, passes));
        }

        WarmUpPlacement in(WarmUpMemory memory, Passes passes) {
            return new WarmUpPlacement(memory, numbers + sums, onDevice(memory), memory == WarmUpMemory.HOST ? onHost : onDevice,
                    passes.how());
        }

        /** Sums of the host's come to a device a matrix at a time, to become their blocks' numbers. */
        private long onDevice(WarmUpMemory memory) {
            return numbers + (memory == WarmUpMemory.DEVICE || device.isCpu() ? sums
                    : grid.matrices().stream().mapToLong(matrix -> sumBytes(List.of(matrix))).max().orElse(0));
        }

        RuntimeException refusal(TuningMethod.Score score) {
            Passes least = ways.getLast();
            String host = told(onHost) + " on the host";
            return Hyperparameter.refused(String.format(Locale.ROOT, "warm_up_memory is auto, and score %s needs %,d bytes for sums of "
                    + "gradients, and %,d on %s for passes of %,d tokens at a time%s; free are %s; name fewer targets, lower "
                    + "micro_batch_tokens, free memory, or set score to abs_mean_sum, which needs no sums", wire(score), numbers + sums,
                    least.bytes(), device, least.tokens(), least.how() == Activations.RECOMPUTE ? " with layers computed twice" : "",
                    device.isCpu() ? host : told(onDevice) + " on " + device + " and " + host + ", of which sums may take three quarters"));
        }
    }

    private static String told(OptionalLong free) {
        return free.isPresent() ? String.format(Locale.ROOT, "%,d", free.getAsLong()) : "an unknown number";
    }

    /**
     * Refuses what was asked to stream and cannot: known as soon as the data is, before a job exists.
     *
     * @param split as in {@link #choose}
     */
    public static void requireStreamable(TuningMethod.Smt method, boolean split) {
        if (method.warmUpMemory() == WarmUpMemory.STREAM && needsSums(method.score(), split)) {
            throw Hyperparameter.refused("warm_up_memory is stream, and score " + wire(method.score()) + " needs the whole gradient of a "
                    + "step, but a warm-up step's batch has more tokens than micro_batch_tokens and comes in parts; raise "
                    + "micro_batch_tokens, lower batch_size, or set warm_up_memory to auto, device or host");
        }
    }

    /** Whether whole gradients must be kept from one part of a batch, or from one step, to the next. */
    static boolean needsSums(TuningMethod.Score score, boolean split) {
        return switch (score) {
            case MEAN_ABS_SUM -> true;
            case ABS_MEAN_SUM -> false;
            case MEAN_ABS_PER_STEP -> split;
        };
    }

    private static long sumBytes(List<BlockGrid.Matrix> matrices) {
        return matrices.stream().mapToLong(matrix -> 4L * matrix.rows() * matrix.columns()).sum();
    }

    private static String wire(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }
}
