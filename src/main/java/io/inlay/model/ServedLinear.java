package io.inlay.model;

import io.inlay.kernels.Int8Weight;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.Tensor;
import java.util.Collections;
import java.util.List;
import java.util.Objects;

/** Linears of few rows as a model answers with them: over a weight's int8 form where it has one, else over the weight. */
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

    /** Whether it is the linear of the weight itself, whatever the row. */
    static boolean plain(LlamaModel model, Tensor weight, List<TileTable> tiles) {
        return model.int8(weight) == null && tiles.stream().allMatch(Objects::isNull);
    }

    /** Several of one x at once: {@code tiles} for each weight, outs [M, O_i]. */
    static void run(LlamaModel model, Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {
        if (weights.stream().allMatch(each -> model.int8(each) == null)) {
            model.kernels().linears(x, weights, tiles, outs);
            return;
        }
        for (int i = 0; i < weights.size(); i++) {
            run(model, x, weights.get(i), tiles.get(i), outs.get(i));
        }
    }
}
