package io.inlay.tuning;

import io.inlay.model.PackedBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * The parts in which an epoch's batches go through the model.
 *
 * @param count of parts in the epoch
 * @param tokens of all parts
 * @param typical the part of median size
 * @param largest the part with the most tokens
 */
record PartSizes(int count, long tokens, PackedBatch typical, PackedBatch largest) {

    static PartSizes of(BatchOrder order, int microBatchTokens) {
        List<PackedBatch> parts = new ArrayList<>();
        for (int step = 0; step < order.stepsPerEpoch(); step++) {
            parts.addAll(Packing.split(Packing.pack(order.batch(step)), microBatchTokens));
        }
        parts.sort(Comparator.comparingInt(part -> part.tokens().length));
        return new PartSizes(parts.size(), parts.stream().mapToLong(part -> part.tokens().length).sum(), parts.get(parts.size() / 2),
                parts.getLast());
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
