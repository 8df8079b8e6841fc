package io.inlay.model;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Named scratch tensors that keep their memory from call to call: a buffer grows when asked for more and never shrinks, so a loop's
 * memory is flat after its largest step and no page is faulted in twice. Confined to one thread at a time.
 */
final class Workspace implements AutoCloseable {

    private final Libtorch torch;
    private final Device device;
    private final Map<String, Slot> slots = new HashMap<>();

    Workspace(Libtorch torch, Device device) {
        this.torch = torch;
        this.device = device;
    }

    private static final class Slot {
        private Scope memory;
        private Scope views;
        private Tensor flat;
        private final List<Tensor> shapes = new ArrayList<>();
    }

    /**
     * A contiguous tensor over the slot's memory, with undefined contents when new. Asking again for other sizes of as many elements
     * gives another view of the same contents, and both stay valid; asking for more or fewer elements ends earlier views.
     */
    Tensor get(String name, DType dtype, long... sizes) {
        Slot slot = slots.computeIfAbsent(name, _ -> new Slot());
        for (Tensor shape : slot.shapes) {
            if (shape.dtype() == dtype && shape.hasSizes(sizes)) {
                return shape;
            }
        }
        long elements = 1;
        for (long size : sizes) {
            elements *= size;
        }
        if (slot.flat == null || slot.flat.dtype() != dtype || slot.flat.elements() < elements) {
            release(slot);
            slot.memory = new Scope(torch, "activations");
            slot.flat = slot.memory.empty(dtype, device, Math.max(1, elements));
        }
        if (!slot.shapes.isEmpty() && slot.shapes.getFirst().elements() != elements) {
            slot.shapes.clear();
            slot.views.close();
            slot.views = null;
        }
        if (slot.views == null) {
            slot.views = new Scope(torch);
        }
        Tensor shape = slot.flat.narrow(slot.views, 0, 0, elements).reshape(slot.views, sizes);
        slot.shapes.add(shape);
        return shape;
    }

    private static void release(Slot slot) {
        slot.shapes.clear();
        if (slot.views != null) {
            slot.views.close();
            slot.views = null;
        }
        if (slot.memory != null) {
            slot.memory.close();
            slot.memory = null;
        }
    }

    /** Bytes held by all buffers. */
    long bytes() {
        return slots.values().stream().filter(slot -> slot.flat != null).mapToLong(slot -> slot.flat.bytes()).sum();
    }

    @Override
    public void close() {
        slots.values().forEach(Workspace::release);
        slots.clear();
    }
}
