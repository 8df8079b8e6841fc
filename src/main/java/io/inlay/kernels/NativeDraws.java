package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * {@link NativeKernels}' draws: the calls into kernels/cpu/draw.c.
 *
 * @param onHeap the same function, which may be given arrays
 */
record NativeDraws(MethodHandle draw, MethodHandle onHeap) {

    void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment list = DrawList.of(arena, draws);
            NativeKernels.call(() -> {
                draw.invokeExact(logits.segment(), logits.stride(0), list, ids.segment(), logits.size(0), logits.size(1),
                        logits.dtype() == DType.BF16 ? 1 : 0);
            });
        }
    }

    int draw(float[] logits, Draw with) {
        int[] id = new int[1];
        NativeKernels.call(() -> {
            onHeap.invokeExact(MemorySegment.ofArray(logits), 0L, DrawList.of(with), MemorySegment.ofArray(id), 1L,
                    (long) logits.length, 0);
        });
        return id[0];
    }
}
