package io.inlay.model;

import io.inlay.kernels.Int8Weight;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.Tensor;
import java.util.Collections;
import java.util.List;

/** A linear of few rows as a model answers with it: over the weight's int8 form where it has one, else over the weight. */
final class ServedLinear {

    private ServedLinear() {
    }

    /**
     * @param x [M, K]
     * @param tiles a table, or null, for each row of x
     * @param out [M, O]
     */
    static void run(LlamaModel model, Tensor x, Tensor weight, List<TileTable> tiles, Tensor out) {
        Int8Weight bytes = model.int8(weight);
        TileTable first = tiles.getFirst();
        if (bytes != null) {
            model.kernels().linearInt8(x, bytes, tiles, out);
        } else if (tiles.stream().allMatch(each -> each == first)) {
            model.kernels().linear(x, weight, first, out);
        } else {
            model.kernels().linearMixed(x, weight, tiles, out);
        }
    }

    /** Over the base alone. */
    static void run(LlamaModel model, Tensor x, Tensor weight, Tensor out) {
        run(model, x, weight, Collections.nCopies(x.dim(0), null), out);
    }
}
