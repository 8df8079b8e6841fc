package io.inlay.kernels;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.function.Consumer;

/**
 * The pages of a batch's caches on the device. They are copied again only when what is there is not what the caches say by then, page for
 * page: the layers of a step differ in offsets alone, and share one copy.
 */
final class CudaPages {

    /** Positions that attention sums apart. */
    static final int SPLIT = 256;

    /** Room in a cache's list, doubled as it grows: launches that are given it are the same for many steps. */
    private static final long FEWEST_PAGES = 16;

    /**
     * Addresses of what the device has of R caches, and their bounds.
     *
     * @param pages addresses of pages [R, most]
     * @param most pages that there is room for in each list
     * @param firsts how many splits the caches before have, as longs [R]
     * @param lengths ints [R]
     * @param longest of the lengths
     * @param splits of all caches
     */
    record Lists(long pages, long most, long firsts, long lengths, int longest, long splits) {
    }

    private final GraphedLauncher launcher;

    /** The copy, and the same bytes here; both have room for more. Null lists: what the copy holds is not known. */
    private Lists lists;
    private int rows;
    private DeviceBuffer copy;
    private MemorySegment same = MemorySegment.NULL;

    CudaPages(GraphedLauncher launcher) {
        this.launcher = launcher;
    }

    /**
     * Calls with the lists of these caches, which the device has for what is launched in the call.
     *
     * @param caches of one layer, one at least
     * @throws IllegalArgumentException that begins with the operation, where they are not of one layer
     */
    void with(String operation, List<KvPages> caches, Consumer<Lists> launches) {
        KvPages first = caches.getFirst();
        for (KvPages each : caches) {
            if (each.keyOffset() != first.keyOffset() || each.valueOffset() != first.valueOffset()) {
                throw new IllegalArgumentException(operation + ": caches must be of one layer");
            }
        }
        // No other batch may take the copy's place before these launches.
        synchronized (launcher) {
            if (!holds(caches)) {
                copy(caches);
            }
            launches.accept(lists);
        }
    }

    private boolean holds(List<KvPages> caches) {
        if (lists == null || caches.size() != rows) {
            return false;
        }
        for (int r = 0; r < rows; r++) {
            KvPages cache = caches.get(r);
            long bytes = bytes(cache);
            long row = 8 * r * lists.most();
            if (cache.length() != same.get(ValueLayout.JAVA_INT, lengths(rows, lists.most()) + 4L * r)
                    || MemorySegment.mismatch(cache.addresses(), 0, bytes, same, row, row + bytes) >= 0) {
                return false;
            }
        }
        return true;
    }

    private void copy(List<KvPages> caches) {
        lists = null;
        rows = caches.size();
        int longest = caches.stream().mapToInt(KvPages::length).max().orElseThrow();
        long most = FEWEST_PAGES;
        while (most * KvPages.PAGE < longest) {
            most *= 2;
        }
        long bytes = lengths(rows, most) + 4L * rows;
        makeRoom(bytes);
        long splits = 0;
        for (int r = 0; r < rows; r++) {
            KvPages cache = caches.get(r);
            MemorySegment.copy(cache.addresses(), 0, same, 8 * r * most, bytes(cache));
            same.set(ValueLayout.JAVA_LONG, firsts(rows, most) + 8L * r, splits);
            same.set(ValueLayout.JAVA_INT, lengths(rows, most) + 4L * r, cache.length());
            splits += Math.ceilDiv(cache.length(), SPLIT);
        }
        launcher.upload(same.asSlice(0, bytes), copy.address());
        lists = new Lists(copy.address(), most, copy.address() + firsts(rows, most), copy.address() + lengths(rows, most), longest, splits);
    }

    /** Twice what is needed, as the caches grow. */
    private void makeRoom(long bytes) {
        if (bytes <= same.byteSize()) {
            return;
        }
        if (copy != null) {
            copy.close();
            copy = null;
        }
        same = MemorySegment.NULL;
        copy = launcher.buffer(2 * bytes);
        same = Arena.ofAuto().allocate(2 * bytes, 8);
    }

    // ---- bytes of a cache's pages, and before the second and the third list ----

    private static long bytes(KvPages cache) {
        return 8L * Math.ceilDiv(cache.length(), KvPages.PAGE);
    }

    private static long firsts(int rows, long most) {
        return 8 * rows * most;
    }

    private static long lengths(int rows, long most) {
        return firsts(rows, most) + 8L * rows;
    }
}
