package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** Launches of kernels/block_gradient.cu. */
final class CudaBlockGradients {

    /** Rows and columns of a block's tile with tensor cores, and without; the larger from {@link #MANY_TILES} of them on. */
    private static final int TILE = 64;
    private static final int LARGE_TILE = 128;
    private static final int PLAIN_TILE = 16;

    /** Of the larger tiles this many fill the multiprocessors of a large GPU. */
    private static final int MANY_TILES = 128;

    private static final int STAGES = 3;
    private static final int CHUNK = 32;

    /** Elements between rows in shared memory, beyond a tile's. */
    private static final int PADDING = 8;

    private final CudaLauncher launcher;

    CudaBlockGradients(CudaLauncher launcher) {
        this.launcher = launcher;
    }

    void blockGradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        for (int from = 0; from < blocks.size(); from += CudaLaunch.MOST_ROWS) {
            launch(gradOut, x, blocks.subList(from, Math.min(blocks.size(), from + CudaLaunch.MOST_ROWS)), edge,
                    gradients.address() + (long) from * edge * edge * gradients.dtype().bytes(), gradients.dtype());
        }
    }

    private void launch(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, long gradients, DType type) {
        int count = blocks.size();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment places = arena.allocate(ValueLayout.JAVA_INT, 2L * count);
            for (int b = 0; b < count; b++) {
                places.setAtIndex(ValueLayout.JAVA_INT, b, blocks.get(b).row());
                places.setAtIndex(ValueLayout.JAVA_INT, count + b, blocks.get(b).column());
            }
            try (DeviceBuffer given = launcher.copyOf(places)) {
                CudaLaunch launch = kernel(x, edge, count).matrix(gradOut).matrix(x).address(given.address())
                        .address(given.address() + 4L * count).integer(edge).number(x.size(0)).address(gradients);
                if (x.dtype() == DType.BF16) {
                    launch.integer(type == DType.FP32 ? 1 : 0);
                }
                launch.on(launcher);
            }
        }
    }

    private static CudaLaunch kernel(Tensor x, int edge, int count) {
        if (x.dtype() == DType.FP32) {
            return CudaLaunch.of("block_gradient_f32").grid(tiles(edge, PLAIN_TILE), count, 1).block(PLAIN_TILE * PLAIN_TILE);
        }
        boolean large = edge % LARGE_TILE == 0 && count * tiles(edge, LARGE_TILE) >= MANY_TILES;
        int tile = large ? LARGE_TILE : TILE;
        return CudaLaunch.of("block_gradient_" + tile).grid(tiles(edge, tile), count, 1).block(2 * tile)
                .shared(STAGES * 2 * CHUNK * (tile + PADDING) * 2);
    }

    private static long tiles(int edge, int tile) {
        long across = Math.ceilDiv(edge, tile);
        return across * across;
    }
}
