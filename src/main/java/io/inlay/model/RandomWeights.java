package io.inlay.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Fresh weights for a model that has only a configuration: matrices normal(0, 0.02), norms 1, and the projections that write into the
 * residual stream scaled by 1 / sqrt(2 layers), as GPT-2 has it (Radford et al. 2019), so that the stream's variance does not grow with
 * depth.
 */
public final class RandomWeights {

    private static final double SPREAD = 0.02;

    private RandomWeights() {
    }

    /** Reads {@code config.json} in the folder and writes {@code model.safetensors} beside it. The same seed gives the same bytes. */
    public static void initialise(Path folder, long seed) {
        LlamaConfig config = LlamaConfig.parse(folder);
        List<ParameterShape> parameters = config.parameters();
        long largest = parameters.stream().mapToLong(ParameterShape::elements).max().orElseThrow();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment scratch = arena.allocate(2 * largest, 64);
            SplittableRandom seeds = new SplittableRandom(seed);
            CheckpointWriter.write(folder.resolve("model.safetensors"), parameters, parameter -> {
                MemorySegment values = scratch.asSlice(0, 2 * parameter.elements());
                fill(values, parameter, config.layers(), seeds.split());
                return values;
            });
        }
    }

    private static void fill(MemorySegment values, ParameterShape parameter, int layers, SplittableRandom random) {
        boolean residual = parameter.name().endsWith(".o_proj.weight") || parameter.name().endsWith(".down_proj.weight");
        double spread = residual ? SPREAD / Math.sqrt(2.0 * layers) : SPREAD;
        boolean norm = parameter.shape().length == 1;
        for (long i = 0; i < parameter.elements(); i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16(norm ? 1 : (float) (spread * random.nextGaussian())));
        }
    }

    /** Rounds a finite value to the nearest bf16, ties to even. */
    private static short bf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
    }
}
