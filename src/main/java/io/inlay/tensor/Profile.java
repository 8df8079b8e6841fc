package io.inlay.tensor;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where time goes: calls, nanoseconds, bytes that operands span and arithmetic operations, by operation. {@link Libtorch#profiledBy} and
 * {@code ProfiledKernels} write into one; times are those of the calling thread, so they add up to what a single thread spent inside.
 */
public final class Profile {

    private final Map<String, Entry> entries = new HashMap<>();

    /**
     * What one operation took.
     *
     * @param operation its name, for products with their shapes
     * @param bytes that its operands span, read or written once
     * @param operations of floating point; 0 where bytes are what counts
     */
    public record Entry(String operation, long calls, long nanos, long bytes, long operations) {

        private Entry plus(Entry more) {
            return new Entry(operation, calls + more.calls, nanos + more.nanos, bytes + more.bytes, operations + more.operations);
        }

        public double seconds() {
            return nanos / 1e9;
        }
    }

    /** Adds one call that began at {@code start} of {@link System#nanoTime} and has just ended. */
    public void add(String operation, long start, long operations, Tensor... operands) {
        long nanos = System.nanoTime() - start;
        long bytes = 0;
        for (Tensor operand : operands) {
            bytes += operand == null ? 0 : operand.bytes();
        }
        synchronized (this) {
            entries.merge(operation, new Entry(operation, 1, nanos, bytes, operations), Entry::plus);
        }
    }

    /** The longest first. */
    public synchronized List<Entry> entries() {
        List<Entry> all = new ArrayList<>(entries.values());
        all.sort(Comparator.comparingLong(Entry::nanos).reversed());
        return all;
    }

    /** Of all that is written down so far. */
    public synchronized long nanos() {
        return entries.values().stream().mapToLong(Entry::nanos).sum();
    }

    public synchronized void reset() {
        entries.clear();
    }
}
