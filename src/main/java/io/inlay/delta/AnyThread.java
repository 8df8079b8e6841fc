package io.inlay.delta;

import java.lang.foreign.MemorySegment;

/**
 * Memory of a confined arena as the threads see it that one decode or encode is shared out to. The calling thread owns the arena and waits
 * for them, so the memory outlives its use.
 */
final class AnyThread {

    /** Stands for any thread that is not the caller; it never runs. */
    private static final Thread OTHER = Thread.ofPlatform().unstarted(() -> {
    });

    private AnyThread() {
    }

    static MemorySegment view(MemorySegment segment) {
        return segment.isAccessibleBy(OTHER) ? segment : MemorySegment.ofAddress(segment.address()).reinterpret(segment.byteSize());
    }

    static TensorBlocks view(TensorBlocks blocks) {
        return new TensorBlocks(blocks.tensor(), blocks.rows(), blocks.columns(), blocks.edge(), blocks.coordinates(), view(blocks.values()));
    }

    static WholeTensor view(WholeTensor tensor) {
        return new WholeTensor(tensor.tensor(), tensor.shape(), view(tensor.values()));
    }

    static BaseMatrices.Matrix view(BaseMatrices.Matrix matrix) {
        return new BaseMatrices.Matrix(matrix.rows(), matrix.columns(), view(matrix.bits()));
    }
}
