package io.inlay.delta;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeSet;

/** Bases and deltas made from a seed, for tests of the codec and the store. */
public final class Deltas implements BaseMatrices {

    public static final String FINGERPRINT = "sha256:" + "a".repeat(64);

    private final Map<String, Matrix> matrices = new HashMap<>();
    private final Map<String, WholeTensor> vectors = new HashMap<>();
    private final Arena arena;
    private final SplittableRandom random;

    public Deltas(Arena arena, long seed) {
        this.arena = arena;
        this.random = new SplittableRandom(seed);
    }

    /** Adds a matrix of weights drawn from normal(0, 0.02). */
    public Deltas with(String tensor, int rows, int columns) {
        MemorySegment bits = arena.allocate(2L * rows * columns, 64);
        for (long i = 0; i < (long) rows * columns; i++) {
            bits.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16((float) (0.02 * random.nextGaussian())));
        }
        matrices.put(tensor, new Matrix(rows, columns, bits));
        return this;
    }

    /** Blocks of a matrix at random places: the base's values moved by normal(0, spread). */
    public TensorBlocks tuned(String tensor, int edge, int count, double spread) {
        Matrix base = matrices.get(tensor);
        TreeSet<BlockCoordinate> places = new TreeSet<>();
        while (places.size() < count) {
            places.add(new BlockCoordinate(random.nextInt(base.rows() / edge), random.nextInt(base.columns() / edge)));
        }
        List<BlockCoordinate> coordinates = new ArrayList<>(places);
        MemorySegment values = arena.allocate(2L * count * edge * edge, 64);
        long at = 0;
        for (BlockCoordinate place : coordinates) {
            for (int row = 0; row < edge; row++) {
                for (int column = 0; column < edge; column++) {
                    long source = ((long) place.row() * edge + row) * base.columns() + (long) place.column() * edge + column;
                    float old = Float.intBitsToFloat(base.bits().getAtIndex(ValueLayout.JAVA_SHORT, source) << 16);
                    values.setAtIndex(ValueLayout.JAVA_SHORT, at++, bf16((float) (old + spread * random.nextGaussian())));
                }
            }
        }
        return new TensorBlocks(tensor, base.rows(), base.columns(), edge, coordinates, values);
    }

    /** Adds a vector of weights around 1, as norms are. */
    public Deltas withVector(String tensor, int length) {
        MemorySegment bits = arena.allocate(2L * length, 64);
        for (int i = 0; i < length; i++) {
            bits.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16((float) (1 + 0.1 * random.nextGaussian())));
        }
        vectors.put(tensor, new WholeTensor(tensor, new long[] {length}, bits));
        return this;
    }

    /** A whole tensor: the base's values moved by normal(0, spread). */
    public WholeTensor tunedWhole(String tensor, double spread) {
        WholeTensor base = whole(tensor);
        MemorySegment values = arena.allocate(base.values().byteSize(), 64);
        for (long i = 0; i < base.count(); i++) {
            float old = Float.intBitsToFloat(base.values().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, bf16((float) (old + spread * random.nextGaussian())));
        }
        return new WholeTensor(tensor, base.shape(), values);
    }

    @Override
    public WholeTensor whole(String tensor) {
        return vectors.containsKey(tensor) ? vectors.get(tensor) : BaseMatrices.super.whole(tensor);
    }

    public static DeltaManifest draft(String task, int edge) {
        return DeltaManifest.draft("base", FINGERPRINT, task, edge, "2026-01-01T00:00:00Z", "ftjob-1", Map.of("learning_rate", "1e-4"),
                "sha256:data", Map.of("training_loss", 0.5), "test");
    }

    @Override
    public Matrix matrix(String tensor) {
        return matrices.get(tensor);
    }

    static short bf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
    }
}
