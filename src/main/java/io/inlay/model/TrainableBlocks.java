package io.inlay.model;

import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeSet;

/**
 * Sparse Matrix Tuning's state: the selected blocks' values and gradients in one compact buffer each, in the order of the selection, and
 * the tile tables that put the values into the forward pass.
 *
 * <p>Legend: n blocks, l edge.
 */
public final class TrainableBlocks implements Trainable, AutoCloseable {

    private final LlamaModel model;
    private final int edge;
    private final Scope scope;
    private final Arena arena = Arena.ofShared();
    private final Tensor values;
    private final Tensor gradients;
    private final Map<String, Part> parts = new LinkedHashMap<>();

    /** The blocks of one linear: their places, where they start in the compact buffers, and the table that shows them. */
    record Part(int rows, int columns, List<BlockCoordinate> coordinates, int first, TileTable tiles) {
    }

    /**
     * Starts from the base's own values.
     *
     * @throws Problem {@code INVALID_HYPERPARAMETERS} when a tensor is no linear of the model or the edge does not divide it
     */
    public TrainableBlocks(LlamaModel model, int edge, SortedMap<String, List<BlockCoordinate>> selection) {
        this.model = model;
        this.edge = edge;
        int count = selection.values().stream().mapToInt(List::size).sum();
        if (count == 0) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, "no block is selected; there is nothing to train");
        }
        selection.keySet().forEach(tensor -> requireTiled(model, tensor, edge));
        this.scope = new Scope(model.torch(), "trained blocks");
        try {
            this.values = scope.empty(model.dtype(), model.device(), count, edge, edge);
            this.gradients = scope.zeros(DType.FP32, model.device(), count, edge, edge);
        } catch (RuntimeException noMemory) {
            scope.close();
            throw noMemory;
        }
        int first = 0;
        for (Map.Entry<String, List<BlockCoordinate>> entry : selection.entrySet()) {
            List<BlockCoordinate> coordinates = List.copyOf(new TreeSet<>(entry.getValue()));
            if (coordinates.isEmpty()) {
                continue;
            }
            parts.put(entry.getKey(), place(entry.getKey(), coordinates, first));
            first += coordinates.size();
        }
        if (first != count) {
            throw new IllegalArgumentException("the selection names " + (count - first) + " blocks twice");
        }
    }

    private static void requireTiled(LlamaModel model, String tensor, int edge) {
        Tensor weight = model.tensor(tensor);
        if (weight == null || weight.rank() != 2) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, tensor + " is no linear of model " + model.name());
        }
        if (edge <= 0 || weight.size(0) % edge != 0 || weight.size(1) % edge != 0) {
            throw new Problem(Problem.Code.INVALID_HYPERPARAMETERS, "block edge " + edge + " does not divide " + tensor + " of "
                    + weight.size(0) + " x " + weight.size(1) + "; choose an edge that divides both");
        }
    }

    private Part place(String tensor, List<BlockCoordinate> coordinates, int first) {
        Tensor weight = model.tensor(tensor);
        try (Scope copy = new Scope(model.torch())) {
            for (int k = 0; k < coordinates.size(); k++) {
                BlockCoordinate at = coordinates.get(k);
                Tensor block = weight.narrow(copy, 0, (long) at.row() * edge, edge).narrow(copy, 1, (long) at.column() * edge, edge);
                model.torch().copy(values.narrow(copy, 0, first + k, 1).reshape(copy, edge, edge), block);
            }
        }
        return new Part(weight.dim(0), weight.dim(1), coordinates, first, TileTable.of(arena, weight.dim(0), weight.dim(1), edge,
                coordinates, values.narrow(scope, 0, first, coordinates.size())));
    }

    @Override
    public boolean trains(String tensor) {
        return parts.containsKey(tensor);
    }

    /** The part of a linear, or null when it has no block. */
    Part part(String tensor) {
        return parts.get(tensor);
    }

    public int edge() {
        return edge;
    }

    /** Trained values. */
    public long count() {
        return values.elements();
    }

    /** [n, l, l] of the model's type: what the forward pass reads and the optimizer writes. */
    public Tensor values() {
        return values;
    }

    /** [n, l, l] fp32, added to by every backward pass. */
    public Tensor gradients() {
        return gradients;
    }

    /** A copy of the values as bf16, in the arena's memory. */
    public List<TensorBlocks> export(Arena target) {
        List<TensorBlocks> blocks = new ArrayList<>();
        try (Scope copy = new Scope(model.torch())) {
            Tensor bf16 = copy.onHost(model.dtype() == DType.BF16 ? values : copy.copyTo(values, DType.BF16, Device.CPU));
            long square = 2L * edge * edge;
            parts.forEach((tensor, part) -> {
                MemorySegment memory = target.allocate(part.coordinates().size() * square, 64);
                memory.copyFrom(bf16.segment().asSlice(part.first() * square, part.coordinates().size() * square));
                blocks.add(new TensorBlocks(tensor, part.rows(), part.columns(), edge, part.coordinates(), memory));
            });
        }
        return blocks;
    }

    @Override
    public void close() {
        scope.close();
        arena.close();
    }
}
