package io.inlay.model;

import io.inlay.kernels.KvPages;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Memory for keys and values in pages of {@value KvPages#PAGE} positions of all layers, up to a number of pages. On the CPU memory is taken
 * from the system when a page is first needed, on a device at once, and kept for the next one who needs it. A page may have several users,
 * who then only read it. Confined to one thread at a time.
 */
public final class KvPool implements AutoCloseable {

    private final LlamaModel model;
    private final Scope scope;
    private final int capacity;
    private final Tensor slab;
    private final List<Tensor> pages = new ArrayList<>();
    private final List<Integer> users = new ArrayList<>();
    private final Deque<Integer> free = new ArrayDeque<>();

    /** @param capacity pages at most, 1 at least */
    public KvPool(LlamaModel model, int capacity) {
        if (capacity < 1) {
            throw new IllegalArgumentException("a pool of " + capacity + " pages holds nothing");
        }
        this.model = model;
        this.scope = new Scope(model.torch(), "keys and values of " + model.name());
        this.capacity = capacity;
        // The host gives memory as it is touched. A device's could be another's by then, so there all of it is taken now.
        this.slab = model.device().isCpu() ? null : scope.empty(model.dtype(), model.device(), capacity, pageElements());
    }

    private long pageElements() {
        return pageBytes(model) / model.dtype().bytes();
    }

    /** The pool that fits into this many bytes, of one page at least. */
    public static KvPool ofBytes(LlamaModel model, long bytes) {
        return new KvPool(model, (int) Math.clamp(bytes / pageBytes(model), 1, Integer.MAX_VALUE));
    }

    /** Bytes of a page, all layers. */
    public static long pageBytes(LlamaModel model) {
        return 2 * halfBytes(model) * model.config().layers();
    }

    /** Of one layer, the keys or the values. */
    private static long halfBytes(LlamaModel model) {
        return (long) model.config().keyValueHeads() * KvPages.PAGE * model.config().headDim() * model.dtype().bytes();
    }

    /** Pages for this many positions. */
    public static int pagesFor(int positions) {
        return Math.ceilDiv(positions, KvPages.PAGE);
    }

    /** Pages at most. */
    public int capacity() {
        return capacity;
    }

    /** Pages that have a user. */
    public int used() {
        return pages.size() - free.size();
    }

    /** An empty cache for one sequence of up to {@code positions}, which takes pages as it grows. */
    public KvCache cache(int positions) {
        return new KvCache(model, this, positions, false);
    }

    /** Whether so many pages can be taken. */
    boolean has(int count) {
        return capacity - used() >= count;
    }

    /** A page with one user, with undefined contents. */
    int take() {
        Integer page = free.pollLast();
        if (page == null) {
            if (pages.size() == capacity) {
                throw new IllegalStateException("all " + capacity + " pages are in use");
            }
            page = pages.size();
            pages.add(slab == null ? scope.empty(model.dtype(), model.device(), pageElements())
                    : slab.narrow(scope, 0, page, 1).reshape(scope, pageElements()));
            users.add(0);
        }
        users.set(page, 1);
        return page;
    }

    /** One more user for a page that has one. */
    public void retain(int page) {
        users.set(page, users.get(page) + 1);
    }

    /** One user less; without any the page is free. */
    public void release(int page) {
        int left = users.get(page) - 1;
        users.set(page, left);
        if (left == 0) {
            free.add(page);
        }
    }

    /** How many use a page. */
    public int users(int page) {
        return users.get(page);
    }

    /** A page's elements, all layers, on the model's device. */
    Tensor memory(int page) {
        return pages.get(page);
    }

    long keyOffset(int layer) {
        return 2 * halfBytes(model) * layer;
    }

    long valueOffset(int layer) {
        return keyOffset(layer) + halfBytes(model);
    }

    @Override
    public void close() {
        scope.close();
    }
}
