package io.inlay.bench;

import io.inlay.delta.BaseMatrices;
import io.inlay.model.LlamaModel;
import io.inlay.model.Projection;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * libtorch's products of one prefill, over the model's own weights and nothing else: what a prefill that leaves its products to libtorch cannot
 * be faster than.
 */
final class PrefillFloor {

    private final LlamaModel model;
    private final int tokens;

    PrefillFloor(LlamaModel model, int tokens) {
        this.model = model;
        this.tokens = tokens;
    }

    /** Seconds of all layers' products; of the last layer only keys and values are needed for all positions. */
    double seconds() {
        Libtorch torch = model.torch();
        double seconds = 0;
        for (int layer = 0; layer < model.config().layers(); layer++) {
            for (Projection projection : Projection.values()) {
                boolean last = layer == model.config().layers() - 1;
                if (last && projection != Projection.K && projection != Projection.V) {
                    continue;
                }
                BaseMatrices.Matrix matrix = model.matrix(projection.tensor(layer));
                try (Scope scope = new Scope(torch)) {
                    Tensor weight = scope.wrap(matrix.bits(), model.dtype(), matrix.rows(), matrix.columns());
                    Tensor x = scope.empty(model.dtype(), model.device(), tokens, matrix.columns());
                    MemorySegment.copy(matrix.bits(), 0, x.segment(), 0, x.bytes());
                    Tensor y = scope.zeros(model.dtype(), model.device(), tokens, matrix.rows());
                    long start = System.nanoTime();
                    torch.mm(y, x, weight.transpose(scope, 0, 1));
                    seconds += (System.nanoTime() - start) / 1e9;
                }
            }
        }
        return seconds;
    }
}
