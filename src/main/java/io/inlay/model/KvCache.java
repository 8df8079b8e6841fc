package io.inlay.model;

import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Keys and values of one sequence, a pair of tensors [S, G, D] a layer (S capacity, G key/value heads, D head dimension).
 */
public final class KvCache implements AutoCloseable {

    private final Scope scope;
    private final Tensor[] keys;
    private final Tensor[] values;
    private final Tensor[] keysByHead;
    private final Tensor[] valuesByHead;
    private final int capacity;
    private int length;

    KvCache(LlamaModel model, int capacity) {
        LlamaConfig config = model.config();
        if (capacity < 1 || capacity > model.maxContext()) {
            throw new IllegalArgumentException("a cache of " + capacity + " positions; the model serves 1 to " + model.maxContext());
        }
        this.capacity = capacity;
        this.scope = new Scope(model.torch());
        int layers = config.layers();
        keys = new Tensor[layers];
        values = new Tensor[layers];
        keysByHead = new Tensor[layers];
        valuesByHead = new Tensor[layers];
        for (int l = 0; l < layers; l++) {
            keys[l] = scope.empty(model.dtype(), model.device(), capacity, config.keyValueHeads(), config.headDim());
            values[l] = scope.empty(model.dtype(), model.device(), capacity, config.keyValueHeads(), config.headDim());
            keysByHead[l] = keys[l].transpose(scope, 0, 1);
            valuesByHead[l] = values[l].transpose(scope, 0, 1);
        }
    }

    /** Positions filled. */
    public int length() {
        return length;
    }

    public int capacity() {
        return capacity;
    }

    /** Forgets positions from {@code newLength} on. */
    public void truncate(int newLength) {
        if (newLength < 0 || newLength > length) {
            throw new IllegalArgumentException("truncate to " + newLength + " of " + length + " positions");
        }
        length = newLength;
    }

    /** Bytes of all layers. */
    public long bytes() {
        return keys.length * 2L * keys[0].bytes();
    }

    /** [G, S, D] views. */
    Tensor keysByHead(int layer) {
        return keysByHead[layer];
    }

    Tensor valuesByHead(int layer) {
        return valuesByHead[layer];
    }

    /** Writes rows [n, G, D] (contiguous) from position {@code at} on; they count once {@link #advance} has passed them. */
    void write(int layer, int at, Tensor newKeys, Tensor newValues) {
        place(keys[layer], at, newKeys);
        place(values[layer], at, newValues);
    }

    private static void place(Tensor cache, int at, Tensor rows) {
        MemorySegment source = rows.segment();
        MemorySegment.copy(source, 0, cache.segment(), at * cache.stride(0) * cache.dtype().bytes(), source.byteSize());
    }

    void advance(int positions) {
        length += positions;
    }

    @Override
    public void close() {
        scope.close();
    }
}
