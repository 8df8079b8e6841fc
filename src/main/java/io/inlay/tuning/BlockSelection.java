package io.inlay.tuning;

import io.inlay.delta.BlockCoordinate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.IntStream;

/**
 * The blocks that will be trained. Ranking is total: of equal scores the block with the lower number in the grid wins.
 */
public final class BlockSelection {

    private final BlockGrid grid;
    private final int[] blocks;

    private BlockSelection(BlockGrid grid, int[] blocks) {
        this.grid = grid;
        this.blocks = blocks;
        Arrays.sort(blocks);
    }

    /** The {@code count} best of all; {@code scores} by number in the grid, none negative or NaN. */
    public static BlockSelection global(BlockGrid grid, float[] scores, int count) {
        requireScores(grid, scores);
        requireCount(count, grid.size());
        return new BlockSelection(grid, best(scores, IntStream.range(0, grid.size()).toArray(), count));
    }

    /** The {@code each} best of every matrix. */
    public static BlockSelection perMatrix(BlockGrid grid, float[] scores, int each) {
        requireScores(grid, scores);
        int[] blocks = new int[Math.multiplyExact(each, grid.matrices().size())];
        for (int m = 0; m < grid.matrices().size(); m++) {
            int[] candidates = IntStream.range(grid.start(m), grid.start(m + 1)).toArray();
            requireCount(each, candidates.length);
            System.arraycopy(best(scores, candidates, each), 0, blocks, m * each, each);
        }
        return new BlockSelection(grid, blocks);
    }

    /** The {@code attention} best of the blocks of q, k, v and o, and the {@code mlp} best of those of gate, up and down. */
    public static BlockSelection pools(BlockGrid grid, float[] scores, int attention, int mlp) {
        requireScores(grid, scores);
        int[] blocks = Arrays.copyOf(best(scores, pool(grid, true), attention), attention + mlp);
        System.arraycopy(best(scores, pool(grid, false), mlp), 0, blocks, attention, mlp);
        return new BlockSelection(grid, blocks);
    }

    /** Numbers of the blocks that compete in a pool. */
    private static int[] pool(BlockGrid grid, boolean attention) {
        return IntStream.range(0, grid.matrices().size())
                .filter(m -> TuningMethod.Strategy.Pools.ofAttention(grid.matrices().get(m).projection()) == attention)
                .flatMap(m -> IntStream.range(grid.start(m), grid.start(m + 1))).toArray();
    }

    /** {@code count} blocks drawn without replacement, each set of that size as likely as any other. */
    public static BlockSelection random(BlockGrid grid, int count, long seed) {
        requireCount(count, grid.size());
        SplittableRandom random = new SplittableRandom(seed);
        int[] deck = new int[grid.size()];
        Arrays.setAll(deck, i -> i);
        for (int i = 0; i < count; i++) {
            int j = i + random.nextInt(deck.length - i);
            int drawn = deck[j];
            deck[j] = deck[i];
            deck[i] = drawn;
        }
        return new BlockSelection(grid, Arrays.copyOf(deck, count));
    }

    /** A choice that was made before, by number in the grid. */
    public static BlockSelection of(BlockGrid grid, int[] blocks) {
        requireCount(blocks.length, grid.size());
        return new BlockSelection(grid, blocks.clone());
    }

    /** Numbers of the best candidates: one sort of (score descending, number ascending) packed into longs. */
    private static int[] best(float[] scores, int[] candidates, int count) {
        if (count > candidates.length) {
            throw new IllegalArgumentException("cannot choose " + count + " of " + candidates.length + " blocks");
        }
        long[] keys = new long[candidates.length];
        for (int i = 0; i < keys.length; i++) {
            // Bits of non-negative floats grow with the value. Adding 0 turns a negative zero into the positive one.
            int descending = ~Float.floatToRawIntBits(scores[candidates[i]] + 0f);
            keys[i] = ((long) descending << 32) | candidates[i];
        }
        Arrays.sort(keys);
        int[] blocks = new int[count];
        for (int k = 0; k < count; k++) {
            blocks[k] = (int) keys[k];
        }
        return blocks;
    }

    private static void requireScores(BlockGrid grid, float[] scores) {
        if (scores.length != grid.size()) {
            throw new IllegalArgumentException(scores.length + " scores do not fit a grid of " + grid.size() + " blocks");
        }
        for (float score : scores) {
            if (!(score >= 0)) {
                throw new IllegalArgumentException("a score is " + score + "; scores are not negative and not NaN");
            }
        }
    }

    private static void requireCount(int count, int available) {
        if (count < 1 || count > available) {
            throw new IllegalArgumentException("cannot choose " + count + " of " + available + " blocks");
        }
    }

    public BlockGrid grid() {
        return grid;
    }

    /** How many blocks are chosen. */
    public int size() {
        return blocks.length;
    }

    /** Their numbers in the grid, ascending. */
    public int[] blocks() {
        return blocks.clone();
    }

    /** The chosen blocks of each matrix that has any, coordinates ascending. */
    public SortedMap<String, List<BlockCoordinate>> byTensor() {
        SortedMap<String, List<BlockCoordinate>> chosen = new TreeMap<>();
        int k = 0;
        for (int m = 0; m < grid.matrices().size(); m++) {
            List<BlockCoordinate> coordinates = new ArrayList<>();
            while (k < blocks.length && blocks[k] < grid.start(m + 1)) {
                coordinates.add(grid.coordinate(m, blocks[k++]));
            }
            if (!coordinates.isEmpty()) {
                chosen.put(grid.matrices().get(m).tensor(), List.copyOf(coordinates));
            }
        }
        return chosen;
    }
}
