package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;

/**
 * Where a prompt is cut into the pieces that are taken in at a time, so that its bits are the same however it is cut.
 *
 * <p>On the CPU, and in fp32, a position's products do not depend on which others are made with it, and a piece ends where it suits. On a
 * device products in bf16 are libtorch's, whose sums may depend on how many rows go together and on a row's place among them. There each
 * position has a {@link Window} of its own: products are made of as many rows as the window has, with the position at its place in it,
 * whichever of the others are there.
 *
 * @param windows whether positions have windows
 */
public record PromptCut(boolean windows) {

    /** Positions that are taken in at a time at most, a multiple of a page: without windows alone, and while others wait for a token. */
    private static final int ALONE = 512;
    private static final int SHARED = 128;

    /** A device's windows: what fills it, and shorter ones for what is left of a prompt, so that few rows are made for nothing. */
    private static final int LARGE = 1024;
    private static final int SMALL = 128;

    /** Positions {@code from} to {@code to - 1}. */
    record Window(int from, int to) {
    }

    public static PromptCut of(Device device, DType type) {
        return new PromptCut(!device.isCpu() && type == DType.BF16);
    }

    /** Positions that are taken in at a time at most, which scratch memory must have room for. */
    int most() {
        return windows ? LARGE : ALONE;
    }

    /**
     * Where the piece that begins at a position ends at the latest.
     *
     * @param whole positions of the prompt that are taken in by pieces
     * @param shared whether others wait meanwhile
     */
    public int end(int from, int whole, boolean shared) {
        return Math.min(whole, windows ? window(from, whole).to() : from + (shared ? SHARED : ALONE));
    }

    /** The window of a position of a prompt of which so many are taken in by pieces: of 1024, the last 512 and less of 128, 128 and 256. */
    Window window(int position, int whole) {
        int start = position / LARGE * LARGE;
        if (isLarge(position, whole)) {
            return new Window(start, start + LARGE);
        }
        int rest = position - start;
        int to = rest < SMALL ? SMALL : Integer.highestOneBit(rest) << 1;
        return new Window(start + (rest < SMALL ? 0 : to / 2), start + to);
    }

    /** Whether the position is in a large window: prompts that share positions share their bits where they are alike in this. */
    public boolean isLarge(int position, int whole) {
        return windows && whole - position / LARGE * LARGE > LARGE / 2;
    }
}
