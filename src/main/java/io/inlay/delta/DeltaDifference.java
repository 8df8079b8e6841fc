package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * How two deltas of one base differ. Whole tensors count as one block each.
 *
 * @param common blocks that both have, with the same bits
 * @param changed blocks that both have, with other bits
 * @param onlyFirst blocks that only the first has
 * @param distance L2 norm of the difference of the two models' weights: where only one has a block, the other has the base's values
 * @param largest the largest difference of one weight
 */
public record DeltaDifference(int common, int changed, int onlyFirst, int onlySecond, double distance, double largest) {

    /** Compares two decoded deltas. */
    public static DeltaDifference of(DeltaFile.Decoded first, DeltaFile.Decoded second, BaseMatrices base) {
        requireSameEdge(first, second);
        Map<String, MemorySegment> ones = pieces(first);
        Map<String, MemorySegment> others = pieces(second);
        Map<String, MemorySegment> bases = new HashMap<>();
        Counter counter = new Counter();
        Set<String> places = new TreeSet<>(ones.keySet());
        places.addAll(others.keySet());
        restored(first, base, bases);
        restored(second, base, bases);
        for (String place : places) {
            counter.count(ones.get(place), others.get(place), bases.get(place));
        }
        return new DeltaDifference(counter.common, counter.changed, counter.onlyFirst, counter.onlySecond, Math.sqrt(counter.squares),
                counter.largest);
    }

    static void requireSameEdge(DeltaFile.Decoded first, DeltaFile.Decoded second) {
        if (!first.blocks().isEmpty() && !second.blocks().isEmpty() && first.manifest().edge() != second.manifest().edge()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the first delta has blocks of edge " + first.manifest().edge() + ", the second of "
                    + second.manifest().edge() + "; only deltas of one edge can be compared or composed");
        }
    }

    /** Blocks and whole tensors by place. */
    private static Map<String, MemorySegment> pieces(DeltaFile.Decoded delta) {
        Map<String, MemorySegment> pieces = new HashMap<>();
        for (TensorBlocks blocks : delta.blocks()) {
            for (int k = 0; k < blocks.coordinates().size(); k++) {
                pieces.put(blocks.tensor() + " " + blocks.coordinates().get(k), blocks.block(k));
            }
        }
        delta.tensors().forEach(whole -> pieces.put(whole.tensor(), whole.values()));
        return pieces;
    }

    /** The base's values at a delta's places. */
    private static void restored(DeltaFile.Decoded delta, BaseMatrices base, Map<String, MemorySegment> pieces) {
        for (TensorBlocks blocks : delta.blocks()) {
            BaseMatrices.Matrix matrix = base.matrix(blocks.tensor());
            int edge = blocks.edge();
            for (BlockCoordinate at : blocks.coordinates()) {
                short[] values = new short[edge * edge];
                for (int row = 0; row < edge; row++) {
                    long from = ((long) at.row() * edge + row) * matrix.columns() + (long) at.column() * edge;
                    MemorySegment.copy(matrix.bits(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * from, values, row * edge, edge);
                }
                pieces.put(blocks.tensor() + " " + at, MemorySegment.ofArray(values));
            }
        }
        delta.tensors().forEach(whole -> pieces.put(whole.tensor(), base.whole(whole.tensor()).values()));
    }

    private static final class Counter {
        private int common;
        private int changed;
        private int onlyFirst;
        private int onlySecond;
        private double squares;
        private double largest;

        private void count(MemorySegment one, MemorySegment other, MemorySegment base) {
            if (one == null) {
                onlySecond++;
                add(base, other);
            } else if (other == null) {
                onlyFirst++;
                add(one, base);
            } else if (one.mismatch(other) < 0) {
                common++;
            } else {
                changed++;
                add(one, other);
            }
        }

        private void add(MemorySegment one, MemorySegment other) {
            for (long at = 0; at < one.byteSize(); at += 2) {
                double difference = Math.abs(value(one, at) - value(other, at));
                squares += difference * difference;
                largest = Math.max(largest, difference);
            }
        }

        private static double value(MemorySegment bits, long at) {
            return Float.intBitsToFloat(bits.get(ValueLayout.JAVA_SHORT_UNALIGNED, at) << 16);
        }
    }
}
