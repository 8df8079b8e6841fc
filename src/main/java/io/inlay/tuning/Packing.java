package io.inlay.tuning;

import io.inlay.model.PackedBatch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Examples as packed batches: sequences one after another, no padding. An example's last token is a target only, never an input, since
 * nothing is predicted from it.
 */
public final class Packing {

    private Packing() {
    }

    /** One batch of the examples, in their order. */
    public static PackedBatch pack(List<TuningExample> examples) {
        int[] lengths = examples.stream().mapToInt(example -> example.tokens().length - 1).toArray();
        int[] tokens = new int[Arrays.stream(lengths).sum()];
        int[] targets = new int[tokens.length];
        Arrays.fill(targets, -1);
        int start = 0;
        for (TuningExample example : examples) {
            int length = example.tokens().length - 1;
            System.arraycopy(example.tokens(), 0, tokens, start, length);
            for (int i = Math.max(0, example.promptLength() - 1); i < length; i++) {
                targets[start + i] = example.tokens()[i + 1];
            }
            start += length;
        }
        return new PackedBatch(tokens, targets, lengths);
    }

    /**
     * Splits a batch between sequences, in order, into parts of at most {@code limit} tokens; a longer sequence is a part of its own.
     */
    public static List<PackedBatch> split(PackedBatch batch, int limit) {
        List<PackedBatch> parts = new ArrayList<>();
        int start = 0;
        int first = 0;
        int tokens = 0;
        for (int s = 0; s < batch.lengths().length; s++) {
            int length = batch.lengths()[s];
            if (tokens > 0 && tokens + length > limit) {
                parts.add(part(batch, first, s, start, tokens));
                start += tokens;
                first = s;
                tokens = 0;
            }
            tokens += length;
        }
        if (tokens > 0) {
            parts.add(part(batch, first, batch.lengths().length, start, tokens));
        }
        return parts;
    }

    private static PackedBatch part(PackedBatch batch, int first, int last, int start, int tokens) {
        return new PackedBatch(Arrays.copyOfRange(batch.tokens(), start, start + tokens),
                Arrays.copyOfRange(batch.targets(), start, start + tokens), Arrays.copyOfRange(batch.lengths(), first, last));
    }
}
