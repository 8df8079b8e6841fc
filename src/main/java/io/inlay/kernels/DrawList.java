package io.inlay.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** What rows are drawn with as kernels/cpu/draw.c and kernels/sampling.cu take it: 32 bytes a row. */
final class DrawList {

    static final long BYTES = 32;

    private static final long TOP_P = 8;
    private static final long LEAST = 16;
    private static final long SCALE = 24;
    private static final long TOP_K = 28;

    /** In the place of top-k. */
    private static final int NOT_DRAWN = -1;

    private DrawList() {
    }

    /** @param draws null for rows that are not drawn */
    static MemorySegment of(Arena arena, List<Draw> draws) {
        MemorySegment list = arena.allocate(BYTES * draws.size(), BYTES);
        for (int r = 0; r < draws.size(); r++) {
            write(draws.get(r), list.asSlice(BYTES * r, BYTES));
        }
        return list;
    }

    /** On the heap. */
    static MemorySegment of(Draw draw) {
        MemorySegment list = MemorySegment.ofArray(new long[(int) BYTES / Long.BYTES]);
        write(draw, list);
        return list;
    }

    private static void write(Draw draw, MemorySegment to) {
        if (draw == null) {
            to.set(ValueLayout.JAVA_INT, TOP_K, NOT_DRAWN);
            return;
        }
        to.set(ValueLayout.JAVA_LONG, 0, draw.random());
        to.set(ValueLayout.JAVA_DOUBLE, TOP_P, draw.topP());
        to.set(ValueLayout.JAVA_DOUBLE, LEAST, draw.least());
        to.set(ValueLayout.JAVA_FLOAT, SCALE, draw.greedy() ? 0 : draw.scale());
        to.set(ValueLayout.JAVA_INT, TOP_K, draw.topK());
    }
}
