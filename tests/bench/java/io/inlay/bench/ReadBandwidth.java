package io.inlay.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * How fast all cores together read memory that no cache holds: each sums up a part of its own. What is read has to be as large as the
 * model it is compared with: servers' last-level caches reach hundreds of MiB, and a quarter of one GiB that stays there reads as speed.
 */
final class ReadBandwidth {

    private static final VectorSpecies<Long> LONGS = LongVector.SPECIES_PREFERRED;
    private static final int STREAMS = 4;
    private static final int TRIES = 5;
    private static volatile long kept;

    private ReadBandwidth() {
    }

    /** Bytes a second over so many bytes, the median of some tries. */
    static double measure(long bytes) {
        int threads = Runtime.getRuntime().availableProcessors();
        long part = bytes / threads / 4096 * 4096;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment memory = arena.allocate(part * threads, 4096);
            memory.fill((byte) 1);
            List<Double> rates = new ArrayList<>();
            for (int i = 0; i < TRIES; i++) {
                rates.add(once(memory, part, threads));
            }
            return Figures.median(rates);
        }
    }

    private static double once(MemorySegment memory, long bytes, int threads) {
        CyclicBarrier start = new CyclicBarrier(threads + 1);
        List<Thread> all = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            MemorySegment part = memory.asSlice(t * bytes, bytes);
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
        return bytes * threads / ((System.nanoTime() - begun) / 1e9);
    }

    /** Some streams at a time, so that one chain of additions does not set the pace. */
    private static long sum(MemorySegment part) {
        LongVector a = LongVector.zero(LONGS);
        LongVector b = a;
        LongVector c = a;
        LongVector d = a;
        int step = LONGS.vectorByteSize();
        ByteOrder order = ByteOrder.nativeOrder();
        for (long at = 0; at < part.byteSize(); at += (long) STREAMS * step) {
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
