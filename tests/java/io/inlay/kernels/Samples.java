package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Random operands from a seed: the same seed gives the same shapes, layouts and values. */
final class Samples implements AutoCloseable {

    private static final int[] ROWS = {1, 2, 3, 5, 16, 33};
    private static final int[] WIDTHS = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 257, 1000};

    private final Libtorch torch;
    private final Scope scope;
    private final Random random;
    private final Arena arena = Arena.ofShared();
    private final float notANumberShare;
    private final DType dtype;
    private final boolean strided;

    /** @param notANumberShare how likely an element is NaN or infinite */
    Samples(Libtorch torch, long seed, float notANumberShare) {
        this.torch = torch;
        this.scope = new Scope(torch);
        this.random = new Random(seed);
        this.notANumberShare = notANumberShare;
        this.dtype = random.nextBoolean() ? DType.BF16 : DType.FP32;
        this.strided = random.nextBoolean();
    }

    DType dtype() {
        return dtype;
    }

    Scope scope() {
        return scope;
    }

    Arena arena() {
        return arena;
    }

    int rows() {
        return ROWS[random.nextInt(ROWS.length)];
    }

    int width() {
        return WIDTHS[random.nextInt(WIDTHS.length)];
    }

    int between(int low, int high) {
        return low + random.nextInt(high - low + 1);
    }

    boolean coin() {
        return random.nextBoolean();
    }

    /** Normal values, with rows apart when this sample is strided. */
    Tensor normal(DType type, double deviation, long... sizes) {
        Tensor result = empty(type, sizes);
        int count = Math.toIntExact(result.elements());
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (random.nextGaussian() * deviation);
            if (notANumberShare > 0 && random.nextFloat() < notANumberShare) {
                values[i] = random.nextBoolean() ? Float.NaN : Float.POSITIVE_INFINITY;
            }
        }
        torch.copy(result, scope.of(Device.CPU, values, sizes));
        return result;
    }

    Tensor normal(long... sizes) {
        return normal(dtype, 1, sizes);
    }

    /** Normal values that are finite whatever the share, with rows apart when this sample is strided. */
    Tensor finite(long... sizes) {
        Tensor result = empty(sizes);
        float[] values = new float[Math.toIntExact(result.elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        torch.copy(result, scope.of(Device.CPU, values, sizes));
        return result;
    }

    /** Finite values whatever the share. */
    Tensor dense(DType type, float[] values, long... sizes) {
        return scope.copyTo(scope.of(Device.CPU, values, sizes), type, Device.CPU);
    }

    /** Memory to write results into, filled with a value that no result has. */
    Tensor empty(DType type, long... sizes) {
        Tensor result;
        if (strided && sizes.length > 1) {
            long[] wide = sizes.clone();
            wide[wide.length - 1] += 5;
            result = scope.empty(type, Device.CPU, wide).narrow(scope, wide.length - 1, 3, sizes[sizes.length - 1]);
        } else {
            result = scope.empty(type, Device.CPU, sizes);
        }
        float[] filler = new float[Math.toIntExact(result.elements())];
        java.util.Arrays.fill(filler, -777);
        torch.copy(result, scope.of(Device.CPU, filler, sizes));
        return result;
    }

    Tensor empty(long... sizes) {
        return empty(dtype, sizes);
    }

    /** int32 [count] in [0, bound). */
    Tensor integers(int count, int bound) {
        int[] values = new int[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextInt(bound);
        }
        return scope.of(Device.CPU, values, count);
    }

    /** A table that takes about half of the blocks from memory of its own, with normal values. */
    TileTable tiles(DType type, int rows, int columns, int edge) {
        List<BlockCoordinate> chosen = new ArrayList<>();
        for (int i = 0; i < rows / edge; i++) {
            for (int j = 0; j < columns / edge; j++) {
                if (random.nextBoolean()) {
                    chosen.add(new BlockCoordinate(i, j));
                }
            }
        }
        if (chosen.isEmpty()) {
            chosen.add(new BlockCoordinate(0, 0));
        }
        Tensor source = normal(type, 1, (long) chosen.size() * edge * edge);
        return TileTable.of(arena, rows, columns, edge, chosen, source.segment(), type.bytes());
    }

    @Override
    public void close() {
        scope.close();
        arena.close();
    }
}
