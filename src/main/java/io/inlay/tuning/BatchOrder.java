package io.inlay.tuning;

import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Which examples each step reads: every epoch is a permutation of its own, drawn from the seed and the epoch's number, so that any step
 * can be asked for without walking there. The last batch of an epoch holds what is left.
 */
public final class BatchOrder {

    private final List<TuningExample> examples;
    private final int batchSize;
    private final long seed;
    private int epoch = -1;
    private int[] permutation = {};

    public BatchOrder(List<TuningExample> examples, int batchSize, long seed) {
        this.examples = List.copyOf(examples);
        this.batchSize = batchSize;
        this.seed = seed;
    }

    public int stepsPerEpoch() {
        return Math.ceilDiv(examples.size(), batchSize);
    }

    /** The examples of a step, counted from 0. */
    public List<TuningExample> batch(int step) {
        shuffle(step / stepsPerEpoch());
        int start = step % stepsPerEpoch() * batchSize;
        return IntStream.range(start, Math.min(start + batchSize, permutation.length)).mapToObj(i -> examples.get(permutation[i])).toList();
    }

    /** Whether the batch of any of the first {@code steps} steps is larger than the limit and still has sequences to be parted between. */
    public boolean anySplit(int steps, int microBatchTokens) {
        return IntStream.range(0, steps).mapToObj(this::batch).anyMatch(batch -> batch.size() > 1
                && batch.stream().mapToInt(example -> example.tokens().length - 1).sum() > microBatchTokens);
    }

    private void shuffle(int wanted) {
        if (epoch == wanted) {
            return;
        }
        epoch = wanted;
        permutation = new int[examples.size()];
        Arrays.setAll(permutation, i -> i);
        // Fisher and Yates. The seed goes through a generator first, or epoch 1 of one seed would be epoch 0 of the next.
        SplittableRandom random = new SplittableRandom(new SplittableRandom(seed).nextLong() + epoch);
        for (int i = permutation.length - 1; i > 0; i--) {
            int j = random.nextInt(i + 1);
            int other = permutation[j];
            permutation[j] = permutation[i];
            permutation[i] = other;
        }
    }
}
