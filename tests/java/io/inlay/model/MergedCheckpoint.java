package io.inlay.model;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/** A copy of a bf16 checkpoint in which a delta stands in the weights themselves. */
public final class MergedCheckpoint {

    private MergedCheckpoint() {
    }

    /** Writes it into a folder, which is returned. */
    public static Path write(Path base, Path target, List<TensorBlocks> blocks, List<WholeTensor> tensors) throws IOException {
        Files.createDirectories(target);
        for (String file : List.of("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")) {
            if (Files.exists(base.resolve(file))) {
                Files.copy(base.resolve(file), target.resolve(file));
            }
        }
        Map<String, TensorBlocks> byTensor = blocks.stream().collect(Collectors.toMap(TensorBlocks::tensor, Function.identity()));
        Map<String, WholeTensor> wholes = tensors.stream().collect(Collectors.toMap(WholeTensor::tensor, Function.identity()));
        try (Checkpoint checkpoint = Checkpoint.open(base); Arena arena = Arena.ofConfined()) {
            CheckpointWriter.write(target.resolve("model.safetensors"), checkpoint.config().parameters(), parameter -> {
                if (wholes.containsKey(parameter.name())) {
                    return wholes.get(parameter.name()).values();
                }
                MemorySegment values = arena.allocate(2 * parameter.elements(), 64);
                MemorySegment.copy(checkpoint.tensors().get(parameter.name()).bytes(), 0, values, 0, values.byteSize());
                if (byTensor.containsKey(parameter.name())) {
                    place(byTensor.get(parameter.name()), parameter, values);
                }
                return values;
            });
        }
        return target;
    }

    private static void place(TensorBlocks blocks, ParameterShape parameter, MemorySegment values) {
        long columns = parameter.shape()[1];
        for (int k = 0; k < blocks.coordinates().size(); k++) {
            BlockCoordinate at = blocks.coordinates().get(k);
            for (int row = 0; row < blocks.edge(); row++) {
                long target = ((long) at.row() * blocks.edge() + row) * columns + (long) at.column() * blocks.edge();
                MemorySegment.copy(blocks.block(k), 2L * row * blocks.edge(), values, 2 * target, 2L * blocks.edge());
            }
        }
    }
}
