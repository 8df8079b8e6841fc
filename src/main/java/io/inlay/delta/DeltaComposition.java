package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * A delta made of two of one base.
 *
 * @param conflicts blocks that both had, with other bits, as {@code tensor (row, column)}; a whole tensor by its name alone
 */
public record DeltaComposition(List<TensorBlocks> blocks, List<WholeTensor> tensors, List<String> conflicts) {

    /** Whose values a block gets that both have. */
    public enum Policy {
        FIRST,
        SECOND,
        FAIL
    }

    /**
     * All blocks of both, in memory of the arena.
     *
     * @throws Problem {@code CONFLICT} by {@link Policy#FAIL}, {@code INVALID_REQUEST} for deltas that do not fit
     */
    public static DeltaComposition compose(DeltaFile.Decoded first, DeltaFile.Decoded second, Policy policy, Arena arena) {
        DeltaDifference.requireSameEdge(first, second);
        requireOneForm(first, second);
        requireOneForm(second, first);
        List<String> conflicts = new ArrayList<>();
        Map<String, TensorBlocks> others = second.blocks().stream().collect(Collectors.toMap(TensorBlocks::tensor, each -> each));
        List<TensorBlocks> blocks = new ArrayList<>();
        for (TensorBlocks one : first.blocks()) {
            TensorBlocks other = others.remove(one.tensor());
            blocks.add(other == null ? one : union(one, other, policy, conflicts, arena));
        }
        blocks.addAll(others.values());
        SortedMap<String, WholeTensor> tensors = new TreeMap<>();
        first.tensors().forEach(whole -> tensors.put(whole.tensor(), whole));
        for (WholeTensor other : second.tensors()) {
            WholeTensor one = tensors.get(other.tensor());
            if (one != null && one.values().mismatch(other.values()) >= 0) {
                conflicts.add(other.tensor());
            }
            if (one == null || policy == Policy.SECOND) {
                tensors.put(other.tensor(), other);
            }
        }
        if (policy == Policy.FAIL && !conflicts.isEmpty()) {
            throw new Problem(Problem.Code.CONFLICT, conflicts.size() + " blocks are in both deltas with other values, the first is "
                    + conflicts.getFirst() + "; choose whose to keep by the policy first or second");
        }
        blocks.sort(Comparator.comparing(TensorBlocks::tensor));
        return new DeltaComposition(blocks, List.copyOf(tensors.values()), conflicts);
    }

    private static void requireOneForm(DeltaFile.Decoded blocks, DeltaFile.Decoded whole) {
        Set<String> names = blocks.blocks().stream().map(TensorBlocks::tensor).collect(Collectors.toSet());
        whole.tensors().stream().map(WholeTensor::tensor).filter(names::contains).findFirst().ifPresent(tensor -> {
            throw new Problem(Problem.Code.INVALID_REQUEST, tensor + " is whole in one delta and in blocks in the other; they cannot be composed");
        });
    }

    private static TensorBlocks union(TensorBlocks one, TensorBlocks other, Policy policy, List<String> conflicts, Arena arena) {
        SortedMap<BlockCoordinate, MemorySegment> pieces = new TreeMap<>();
        for (int k = 0; k < one.coordinates().size(); k++) {
            pieces.put(one.coordinates().get(k), one.block(k));
        }
        for (int k = 0; k < other.coordinates().size(); k++) {
            BlockCoordinate at = other.coordinates().get(k);
            MemorySegment mine = pieces.get(at);
            if (mine != null && mine.mismatch(other.block(k)) >= 0) {
                conflicts.add(one.tensor() + " " + at);
            }
            if (mine == null || policy == Policy.SECOND) {
                pieces.put(at, other.block(k));
            }
        }
        return gathered(one, pieces, arena);
    }

    private static TensorBlocks gathered(TensorBlocks like, SortedMap<BlockCoordinate, MemorySegment> pieces, Arena arena) {
        long square = 2L * like.edge() * like.edge();
        MemorySegment values = arena.allocate(square * pieces.size(), 64);
        long at = 0;
        for (MemorySegment piece : pieces.values()) {
            values.asSlice(at, square).copyFrom(piece);
            at += square;
        }
        return new TensorBlocks(like.tensor(), like.rows(), like.columns(), like.edge(), List.copyOf(pieces.keySet()), values);
    }

    /**
     * The first delta without the blocks that the second has too: there the model is the base again.
     *
     * @throws Problem {@code INVALID_REQUEST} for deltas of different edges, and when nothing would be left
     */
    public static DeltaComposition subtract(DeltaFile.Decoded from, DeltaFile.Decoded what, Arena arena) {
        DeltaDifference.requireSameEdge(from, what);
        Set<String> removed = new HashSet<>();
        what.blocks().forEach(blocks -> blocks.coordinates().forEach(at -> removed.add(blocks.tensor() + " " + at)));
        Set<String> wholes = what.tensors().stream().map(WholeTensor::tensor).collect(Collectors.toSet());
        List<TensorBlocks> blocks = new ArrayList<>();
        for (TensorBlocks each : from.blocks()) {
            SortedMap<BlockCoordinate, MemorySegment> left = new TreeMap<>();
            for (int k = 0; k < each.coordinates().size() && !wholes.contains(each.tensor()); k++) {
                if (!removed.contains(each.tensor() + " " + each.coordinates().get(k))) {
                    left.put(each.coordinates().get(k), each.block(k));
                }
            }
            if (!left.isEmpty()) {
                blocks.add(gathered(each, left, arena));
            }
        }
        List<WholeTensor> tensors = from.tensors().stream().filter(whole -> !wholes.contains(whole.tensor())).toList();
        if (blocks.isEmpty() && tensors.isEmpty()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the second delta has every block of the first; nothing would be left but the base");
        }
        return new DeltaComposition(blocks, tensors, List.of());
    }
}
