package io.inlay.tuning;

import io.inlay.model.PackedBatch;
import java.util.Arrays;

/**
 * The parts in which an epoch's batches go through the model.
 *
 * @param count of parts in the epoch
 * @param tokens of all parts
 * @param largest the part with the most tokens
 */
record PartSizes(int count, long tokens, PackedBatch largest) {

    static PartSizes of(BatchOrder order, int microBatchTokens) {
        int count = 0;
        long tokens = 0;
        PackedBatch largest = null;
        for (int step = 0; step < order.stepsPerEpoch(); step++) {
            for (PackedBatch part : Packing.split(Packing.pack(order.batch(step)), microBatchTokens)) {
                count++;
                tokens += part.tokens().length;
                largest = largest == null || part.tokens().length > largest.tokens().length ? part : largest;
            }
        }
        return new PartSizes(count, tokens, largest);
    }

    /**
     * At most {@code limit} tokens of a part: whole sequences from its beginning; where the first is longer already, a window of it around
     * where its prompt ends, with as large a share of targets as it has.
     */
    static PackedBatch cut(PackedBatch part, int limit) {
        if (part.tokens().length <= limit) {
            return part;
        }
        if (part.lengths()[0] <= limit) {
            int tokens = 0;
            int sequences = 0;
            while (tokens + part.lengths()[sequences] <= limit) {
                tokens += part.lengths()[sequences++];
            }
            return window(part, 0, tokens, Arrays.copyOf(part.lengths(), sequences));
        }
        int length = part.lengths()[0];
        int first = 0;
        while (first < length - 1 && part.targets()[first] < 0) {
            first++;
        }
        int start = (int) Math.clamp(first - (long) limit * first / length, 0, length - limit);
        return window(part, start, limit, new int[] {limit});
    }

    private static PackedBatch window(PackedBatch part, int start, int tokens, int[] lengths) {
        return new PackedBatch(Arrays.copyOfRange(part.tokens(), start, start + tokens),
                Arrays.copyOfRange(part.targets(), start, start + tokens), lengths);
    }
}
