package io.inlay.bench;

import io.inlay.model.CheckpointWriter;
import io.inlay.model.LlamaConfig;
import io.inlay.model.ParameterShape;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * Weights for measurements, made at the speed of copying, so that a checkpoint of many gigabytes takes seconds: normal values from a pool that
 * comes round again and again. The pool's length is prime, so no two rows of a matrix are the same. Norms are 1, and what writes into the
 * residual stream is scaled as {@link io.inlay.model.RandomWeights} scales it.
 */
final class RepeatedWeights {

    private static final int POOL = 16_777_213;

    private RepeatedWeights() {
    }

    /** Writes {@code model.safetensors} beside the folder's configuration, matrices normal(0, {@code spread}). */
    static void write(Path folder, double spread, long seed) {
        LlamaConfig config = LlamaConfig.parse(folder);
        List<ParameterShape> parameters = config.parameters();
        long largest = parameters.stream().mapToLong(ParameterShape::elements).max().orElseThrow();
        int pool = (int) Math.min(POOL, largest);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment wide = normal(arena, pool, spread, seed);
            MemorySegment narrow = normal(arena, pool, spread / Math.sqrt(2.0 * config.layers()), seed + 1);
            MemorySegment scratch = arena.allocate(2 * largest, 64);
            long[] next = {0};
            CheckpointWriter.write(folder.resolve("model.safetensors"), parameters, parameter -> {
                MemorySegment values = scratch.asSlice(0, 2 * parameter.elements());
                if (parameter.shape().length == 1) {
                    ones(values);
                } else {
                    boolean residual = parameter.name().endsWith(".o_proj.weight") || parameter.name().endsWith(".down_proj.weight");
                    next[0] = fill(values, residual ? narrow : wide, next[0]);
                }
                return values;
            });
        }
    }

    private static MemorySegment normal(Arena arena, int count, double spread, long seed) {
        MemorySegment values = arena.allocate(2L * count, 64);
        int parts = 64;
        SplittableRandom seeds = new SplittableRandom(seed);
        SplittableRandom[] randoms = IntStream.range(0, parts).mapToObj(_ -> seeds.split()).toArray(SplittableRandom[]::new);
        IntStream.range(0, parts).parallel().forEach(part -> {
            for (long i = (long) count * part / parts; i < (long) count * (part + 1) / parts; i++) {
                values.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16((float) (spread * randoms[part].nextGaussian())));
            }
        });
        return values;
    }

    /** Cut, not rounded: nobody compares these values with others. */
    private static short bf16(float value) {
        return (short) (Float.floatToRawIntBits(value) >>> 16);
    }

    private static void ones(MemorySegment values) {
        for (long i = 0; i < values.byteSize() / 2; i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16(1));
        }
    }

    /** Takes from the pool where the last matrix stopped; returns where the next goes on. */
    private static long fill(MemorySegment values, MemorySegment pool, long from) {
        long at = 0;
        long next = from;
        while (at < values.byteSize()) {
            long piece = Math.min(values.byteSize() - at, pool.byteSize() - next);
            MemorySegment.copy(pool, next, values, at, piece);
            at += piece;
            next = (next + piece) % pool.byteSize();
        }
        return next;
    }
}
