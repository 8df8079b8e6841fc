package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** Sequences whose pages, of several layers, lie in one tensor of random values, those of a sequence apart and in no order. */
final class PagedSequences {

    /** Random values that repeat; a prime, so that no two pages begin alike. */
    private static final int VALUES = 9973;

    private final DType type;
    private final int groups;
    private final int dim;
    private final long pageBytes;
    private final Tensor memory;
    private final long start;
    private final List<MemorySegment> addresses = new ArrayList<>();

    /**
     * @param gap elements before the first page, which may keep pages off multiples of 16 bytes
     * @param pages of each sequence
     */
    PagedSequences(Samples s, DType type, int layers, int groups, int dim, int gap, int... pages) {
        this.type = type;
        this.groups = groups;
        this.dim = dim;
        this.pageBytes = 2 * half() * layers;
        int most = 0;
        for (int each : pages) {
            most = Math.max(most, each);
        }
        // Page p of sequence i is the one p * sequences + i from the end; behind the first, a page of no one's.
        this.memory = s.scope().empty(type, Device.CPU, gap + (1L + (long) most * pages.length) * pageBytes / type.bytes());
        MemorySegment values = s.normal(type, 1, VALUES).segment();
        for (long at = 0; at < memory.bytes(); at += values.byteSize()) {
            MemorySegment.copy(values, 0, memory.segment(), at, Math.min(values.byteSize(), memory.bytes() - at));
        }
        this.start = memory.address() + (long) gap * type.bytes();
        for (int i = 0; i < pages.length; i++) {
            MemorySegment own = s.arena().allocate(ValueLayout.JAVA_LONG, pages[i]);
            for (int p = 0; p < pages[i]; p++) {
                own.setAtIndex(ValueLayout.JAVA_LONG, p, start + pageBytes * (most * pages.length - (long) p * pages.length - i));
            }
            addresses.add(own);
        }
    }

    /** Bytes of a layer's keys, or values, in a page. */
    private long half() {
        return (long) groups * KvPages.PAGE * dim * type.bytes();
    }

    KvPages view(int sequence, int layer, int length) {
        return new KvPages(addresses.get(sequence), length, 2 * half() * layer, 2 * half() * layer + half(), groups, dim, type);
    }

    /** Moves a page of a sequence to the page of no one's, and leaves NaN where it was. */
    void move(int sequence, int page) {
        long from = addresses.get(sequence).getAtIndex(ValueLayout.JAVA_LONG, page);
        MemorySegment left = MemorySegment.ofAddress(from).reinterpret(pageBytes);
        MemorySegment.copy(left, 0, MemorySegment.ofAddress(start).reinterpret(pageBytes), 0, pageBytes);
        left.fill((byte) 0xff);
        addresses.get(sequence).setAtIndex(ValueLayout.JAVA_LONG, page, start);
    }

    /** All pages. */
    Tensor memory() {
        return memory;
    }
}
