package io.inlay.model;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Weights that were trained as a whole, in the form that a delta has: linears as all of their blocks, since that is how linears are
 * served, and embeddings, norms and what no edge divides as whole tensors.
 */
public record DeltaTensors(List<TensorBlocks> blocks, List<WholeTensor> tensors) {

    private static final int LARGEST_EDGE = 256;

    /** With smaller blocks a tile table would be a noticeable part of the weight. */
    private static final int SMALLEST_EDGE = 16;

    public DeltaTensors {
        blocks = List.copyOf(blocks);
        tensors = List.copyOf(tensors);
    }

    /** Where a parameter's bf16 bit patterns come from, row-major; they may be made in the arena, which is closed after each. */
    @FunctionalInterface
    public interface Values {
        MemorySegment of(ParameterShape parameter, Arena arena);
    }

    /** Copies of the parameters, in the arena's memory. The edge is the largest power of two, 256 to 16, that divides all linears. */
    public static DeltaTensors of(LlamaConfig config, List<ParameterShape> parameters, Values values, Arena arena) {
        Set<String> linears = linears(config);
        int edge = edge(parameters.stream().filter(parameter -> linears.contains(parameter.name())).toList());
        List<TensorBlocks> blocks = new ArrayList<>();
        List<WholeTensor> tensors = new ArrayList<>();
        for (ParameterShape parameter : parameters) {
            try (Arena one = Arena.ofConfined()) {
                MemorySegment bits = values.of(parameter, one);
                if (edge > 0 && linears.contains(parameter.name())) {
                    blocks.add(tiled(parameter, edge, bits, arena));
                } else {
                    tensors.add(new WholeTensor(parameter.name(), parameter.shape(), arena.allocate(bits.byteSize(), 64).copyFrom(bits)));
                }
            }
        }
        return new DeltaTensors(blocks, tensors);
    }

    private static Set<String> linears(LlamaConfig config) {
        Set<String> names = new HashSet<>();
        for (int layer = 0; layer < config.layers(); layer++) {
            for (Projection projection : Projection.values()) {
                names.add(projection.tensor(layer));
            }
        }
        return names;
    }

    /** 0 when no edge divides all. */
    private static int edge(List<ParameterShape> linears) {
        for (int edge = LARGEST_EDGE; edge >= SMALLEST_EDGE; edge /= 2) {
            int candidate = edge;
            if (linears.stream().allMatch(linear -> linear.shape()[0] % candidate == 0 && linear.shape()[1] % candidate == 0)) {
                return edge;
            }
        }
        return 0;
    }

    private static TensorBlocks tiled(ParameterShape parameter, int edge, MemorySegment bits, Arena arena) {
        int rows = Math.toIntExact(parameter.shape()[0]);
        int columns = Math.toIntExact(parameter.shape()[1]);
        MemorySegment values = arena.allocate(bits.byteSize(), 64);
        List<BlockCoordinate> coordinates = new ArrayList<>();
        long at = 0;
        for (int i = 0; i < rows / edge; i++) {
            for (int j = 0; j < columns / edge; j++) {
                coordinates.add(new BlockCoordinate(i, j));
                for (int row = 0; row < edge; row++, at += 2L * edge) {
                    long source = ((long) i * edge + row) * columns + (long) j * edge;
                    MemorySegment.copy(bits, 2 * source, values, at, 2L * edge);
                }
            }
        }
        return new TensorBlocks(parameter.name(), rows, columns, edge, coordinates, values);
    }
}
