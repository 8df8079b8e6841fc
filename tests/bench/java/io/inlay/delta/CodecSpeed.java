package io.inlay.delta;

import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The codec on one core: one chunk of 16 blocks of edge 256, 2 MiB of raw bf16, over and over. {@code spread} is the standard deviation of
 * what a fine-tune adds to weights of normal(0, 0.02): DESIGN.md's light, middle, strong and heavy ones.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class CodecSpeed {

    /** Bytes of raw bf16 that one operation encodes or decodes. */
    public static final long BYTES = 2L << 20;

    @Param({"1e-4", "3e-4", "6e-4", "2e-3"})
    public double spread;

    private final BlockCodec codec = new BlockCodec();
    private short[] base;
    private short[] values;
    private short[] decoded;
    private BlockCodec.Chunk chunk;

    @Setup(Level.Trial)
    public void prepare() {
        try (Arena arena = Arena.ofConfined()) {
            Deltas deltas = new Deltas(arena, 1).with("w", 1024, 1024);
            TensorBlocks blocks = deltas.tuned("w", 256, 16, spread);
            TensorBlocks under = deltas.tuned("w", 256, 16, 0);
            base = under.values().toArray(java.lang.foreign.ValueLayout.JAVA_SHORT);
            values = blocks.values().toArray(java.lang.foreign.ValueLayout.JAVA_SHORT);
        }
        decoded = new short[values.length];
        chunk = codec.encode(values, base);
    }

    @Benchmark
    public Object encode() {
        return codec.encode(values, base);
    }

    @Benchmark
    public Object decode() {
        codec.decode(chunk.form(), chunk.bytes(), chunk.bytes().length, base, decoded, "chunk");
        return decoded;
    }

    @TearDown(Level.Trial)
    public void free() {
        codec.close();
    }

}
