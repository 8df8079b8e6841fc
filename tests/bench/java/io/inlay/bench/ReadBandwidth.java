package io.inlay.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorSpecies;

/** How fast all cores together read memory that no cache holds: each sums up a part of its own. */
final class ReadBandwidth {

    private static final VectorSpecies<Long> LONGS = LongVector.SPECIES_PREFERRED;
    private static final long BYTES = 512L << 20;
    private static final int STREAMS = 4;
    private static volatile long kept;

    private ReadBandwidth() {
    }

    /** Bytes a second, the best of some tries. */
    static double measure() {
        int threads = Runtime.getRuntime().availableProcessors();
        try (Arena arena = Arena.ofShared()) {
            MemorySegment memory = arena.allocate(BYTES * threads, 4096);
            memory.fill((byte) 1);
            double best = 0;
            for (int i = 0; i < 6; i++) {
                best = Math.max(best, once(memory, threads));
            }
            return best;
        }
    }

    private static double once(MemorySegment memory, int threads) {
        CyclicBarrier start = new CyclicBarrier(threads + 1);
        List<Thread> all = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            MemorySegment part = memory.asSlice(t * BYTES, BYTES);
            all.add(Thread.ofPlatform().start(() -> {
                meet(start);
                kept = sum(part);
            }));
        }
        meet(start);
        long begun = System.nanoTime();
        for (Thread each : all) {
            try {
                each.join();
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
        }
        return BYTES * threads / ((System.nanoTime() - begun) / 1e9);
    }

    /** Some streams at a time, so that one chain of additions does not set the pace. */
    private static long sum(MemorySegment part) {
        LongVector a = LongVector.zero(LONGS);
        LongVector b = a;
        LongVector c = a;
        LongVector d = a;
        int step = LONGS.vectorByteSize();
        ByteOrder order = ByteOrder.nativeOrder();
        for (long at = 0; at < BYTES; at += (long) STREAMS * step) {
            a = a.add(LongVector.fromMemorySegment(LONGS, part, at, order));
            b = b.add(LongVector.fromMemorySegment(LONGS, part, at + step, order));
            c = c.add(LongVector.fromMemorySegment(LONGS, part, at + 2L * step, order));
            d = d.add(LongVector.fromMemorySegment(LONGS, part, at + 3L * step, order));
        }
        return a.add(b).add(c.add(d)).lane(0);
    }

    private static void meet(CyclicBarrier barrier) {
        try {
            barrier.await();
        } catch (Exception broken) {
            throw new IllegalStateException(broken);
        }
    }
}
