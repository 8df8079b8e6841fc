package io.inlay.model;

import io.inlay.kernels.KvPages;
import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Arrays;

/** Keys and values of one sequence, in pages of a {@link KvPool} that are taken as the sequence grows. Confined to one thread at a time. */
public final class KvCache implements AutoCloseable {

    private final LlamaModel model;
    private final KvPool pool;
    private final boolean ownsPool;
    private final int capacity;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment addresses;
    private final int[] pages;
    private int count;
    private int length;

    KvCache(LlamaModel model, KvPool pool, int capacity, boolean ownsPool) {
        if (capacity < 1 || capacity > model.maxContext()) {
            throw new IllegalArgumentException("a cache of " + capacity + " positions; the model serves 1 to " + model.maxContext());
        }
        this.model = model;
        this.pool = pool;
        this.ownsPool = ownsPool;
        this.capacity = capacity;
        this.pages = new int[KvPool.pagesFor(capacity)];
        this.addresses = arena.allocate(ValueLayout.JAVA_LONG, pages.length);
    }

    /** Positions filled. */
    public int length() {
        return length;
    }

    public int capacity() {
        return capacity;
    }

    /** Bytes of the pages that it holds, those shared with others included. */
    public long bytes() {
        return count * KvPool.pageBytes(model);
    }

    /** Pages that it holds. */
    public int pages() {
        return count;
    }

    /** The page of positions {@value KvPages#PAGE} index and on. */
    public int page(int index) {
        return pages[index];
    }

    /** Forgets positions from {@code newLength} on. */
    public void truncate(int newLength) {
        if (newLength < 0 || newLength > length) {
            throw new IllegalArgumentException("truncate to " + newLength + " of " + length + " positions");
        }
        length = newLength;
    }

    /** Takes the pages for this many positions; false, and nothing taken, when the pool has not as many. */
    public boolean reserve(int positions) {
        int more = KvPool.pagesFor(positions) - count;
        if (more > 0 && !pool.has(more)) {
            return false;
        }
        for (; more > 0; more--) {
            hold(pool.take());
        }
        return true;
    }

    /** Begins an empty cache with pages that others filled, and from now on only reads: all positions of them count. */
    public void share(int[] filled) {
        if (count != 0) {
            throw new IllegalStateException("a cache of " + count + " pages can begin with no others");
        }
        for (int page : filled) {
            pool.retain(page);
            hold(page);
        }
        length = count * KvPages.PAGE;
    }

    private void hold(int page) {
        pages[count] = page;
        addresses.setAtIndex(ValueLayout.JAVA_LONG, count++, pool.memory(page).address());
    }

    /**
     * What of a layer is filled up to a position; {@code positions} may be ahead of {@link #length} by what is being written, which counts
     * once {@link #advance} has passed it.
     */
    KvPages view(int layer, int positions) {
        return new KvPages(addresses, positions, pool.keyOffset(layer), pool.valueOffset(layer), model.config().keyValueHeads(),
                model.config().headDim(), model.dtype());
    }

    void advance(int positions) {
        length += positions;
    }

    /** Moves the contents to a file and gives all pages back; {@link #swapIn} brings them, bit for bit. */
    public void swapOut(FileChannel file) throws IOException {
        long at = 0;
        for (int p = 0; p < count; p++) {
            try (Scope copy = new Scope(model.torch())) {
                for (ByteBuffer bytes = copy.onHost(pool.memory(pages[p])).segment().asByteBuffer(); bytes.hasRemaining();) {
                    at += file.write(bytes, at);
                }
            }
        }
        release();
    }

    /** The inverse of {@link #swapOut}, into pages that are taken now; false, and nothing done, when the pool has not as many. */
    public boolean swapIn(FileChannel file) throws IOException {
        if (!reserve(length)) {
            return false;
        }
        long at = 0;
        for (int p = 0; p < count; p++) {
            at = read(file, at, pool.memory(pages[p]));
        }
        return true;
    }

    /** Reads a page, by way of the host's memory where it is another device's; returns where the next one begins. */
    private long read(FileChannel file, long from, Tensor page) throws IOException {
        try (Scope copy = new Scope(model.torch())) {
            Tensor host = page.device().isCpu() ? page : copy.empty(page.dtype(), Device.CPU, page.sizes());
            long at = from;
            for (ByteBuffer bytes = host.segment().asByteBuffer(); bytes.hasRemaining();) {
                int read = file.read(bytes, at);
                if (read < 0) {
                    throw new IOException("the file of a generation that was put aside has lost its end");
                }
                at += read;
            }
            if (host != page) {
                model.torch().copy(page, host);
            }
            return at;
        }
    }

    private void release() {
        Arrays.stream(pages, 0, count).forEach(pool::release);
        count = 0;
    }

    @Override
    public void close() {
        release();
        if (ownsPool) {
            pool.close();
        }
        arena.close();
    }
}
