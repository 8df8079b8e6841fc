package io.inlay.kernels;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import io.inlay.tensor.Tensor;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/** {@link VectorKernels}' draws, rows over cores. Thread-safe. */
final class VectorDraws {

    private final Cores cores;
    /** Those that no thread uses, each with memory for a row. */
    private final Queue<VectorDraw> idle = new ConcurrentLinkedQueue<>();

    VectorDraws(Cores cores) {
        this.cores = cores;
    }

    void draw(Tensor logits, List<Draw> draws, Tensor ids) {
        cores.forEach(draws.size(), logits.elements(), (begin, end) -> {
            VectorDraw own = borrow();
            for (int r = begin; r < end; r++) {
                if (draws.get(r) != null) {
                    ids.segment().set(JAVA_INT_UNALIGNED, 4L * r, own.draw(logits, r, draws.get(r)));
                }
            }
            idle.add(own);
        });
    }

    int draw(float[] logits, Draw draw) {
        VectorDraw own = borrow();
        int id = own.draw(logits, draw);
        idle.add(own);
        return id;
    }

    private VectorDraw borrow() {
        VectorDraw found = idle.poll();
        return found == null ? new VectorDraw() : found;
    }
}
