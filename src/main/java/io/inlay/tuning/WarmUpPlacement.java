package io.inlay.tuning;

import io.inlay.tensor.Device;
import io.inlay.tensor.FreeMemory;
import java.util.Locale;
import java.util.OptionalLong;

/**
 * Where a run's warm-up sums will live, and why.
 *
 * @param memory {@code DEVICE}, {@code HOST} or {@code STREAM}
 * @param bytes that {@link BlockScores} will hold there: a number per block, and the sums of whole gradients if the score needs them
 * @param freeBytes of the memory chosen, when it was looked at and says
 */
public record WarmUpPlacement(WarmUpMemory memory, long bytes, OptionalLong freeBytes) {

    /** Of free memory, sums take this much at most: activations need room too. */
    private static final double MOST = 0.75;

    /**
     * Chooses. Left open ({@code AUTO}), a score that needs no sums streams; sums go to the device if its free memory has room, else to the
     * host.
     *
     * @param split whether some warm-up step's batch goes through the model in parts
     * @throws io.inlay.Problem {@code INVALID_HYPERPARAMETERS} when there is room nowhere, or a score that must stream cannot
     */
    public static WarmUpPlacement choose(TuningMethod.Smt method, BlockGrid grid, boolean split, Device device, FreeMemory free) {
        requireStreamable(method, split);
        long numbers = 4L * grid.size();
        long sums = needsSums(method.score(), split) ? sumBytes(grid) : 0;
        if (sums == 0) {
            return new WarmUpPlacement(WarmUpMemory.STREAM, numbers, OptionalLong.empty());
        }
        return switch (method.warmUpMemory()) {
            case AUTO -> withRoom(method, numbers + sums, device, free);
            case DEVICE -> new WarmUpPlacement(WarmUpMemory.DEVICE, numbers + sums, free.on(device));
            case HOST -> new WarmUpPlacement(WarmUpMemory.HOST, numbers + sums, free.on(Device.CPU));
            case STREAM -> throw new AssertionError("streaming was checked");
        };
    }

    private static WarmUpPlacement withRoom(TuningMethod.Smt method, long bytes, Device device, FreeMemory free) {
        OptionalLong onHost = free.on(Device.CPU);
        OptionalLong onDevice = device.isCpu() ? onHost : free.on(device);
        // A device that does not say is not trusted with what may not fit; a host that does not say is all there is.
        if (onDevice.isPresent() ? hasRoom(onDevice, bytes) : device.isCpu()) {
            return new WarmUpPlacement(WarmUpMemory.DEVICE, bytes, onDevice);
        }
        if (!device.isCpu() && (onHost.isEmpty() || hasRoom(onHost, bytes))) {
            return new WarmUpPlacement(WarmUpMemory.HOST, bytes, onHost);
        }
        throw Hyperparameter.refused(String.format(Locale.ROOT, "warm_up_memory is auto, and score %s needs %,d bytes for sums of "
                + "gradients; "
                + "free are %s, of which sums may take three quarters; name fewer targets, free memory, or set score to abs_mean_sum, "
                + "which needs no sums", wire(method.score()), bytes, told(device, onDevice, onHost)));
    }

    private static boolean hasRoom(OptionalLong free, long bytes) {
        return bytes <= MOST * free.orElseThrow();
    }

    private static String told(Device device, OptionalLong onDevice, OptionalLong onHost) {
        String host = told(onHost) + " on the host";
        return device.isCpu() ? host : told(onDevice) + " on " + device + " and " + host;
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

    private static long sumBytes(BlockGrid grid) {
        return grid.matrices().stream().mapToLong(matrix -> 4L * matrix.rows() * matrix.columns()).sum();
    }

    private static String wire(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }
}
