package io.inlay.tuning;

import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** The trained values as they were at one moment, in the model's type: one copy beside those that go on moving. */
final class KeptValues implements AutoCloseable {

    private final Libtorch torch;
    private final List<Tensor> weights;
    private final Scope scope;
    private final List<Tensor> copies = new ArrayList<>();

    KeptValues(Libtorch torch, List<Tensor> weights) {
        this.torch = torch;
        this.weights = List.copyOf(weights);
        this.scope = new Scope(torch, "the best values so far");
    }

    /** Remembers the values as they are now. */
    void keep() {
        List<Tensor> into = copies();
        for (int i = 0; i < weights.size(); i++) {
            torch.copy(into.get(i), weights.get(i));
        }
    }

    /** Makes the weights what they were when they were kept. */
    void putBack() {
        List<Tensor> from = copies();
        for (int i = 0; i < weights.size(); i++) {
            torch.copy(weights.get(i), from.get(i));
        }
    }

    /** The copies, to be saved or filled. */
    List<NamedTensor> state() {
        List<Tensor> kept = copies();
        List<NamedTensor> state = new ArrayList<>();
        for (int i = 0; i < kept.size(); i++) {
            state.add(new NamedTensor("best." + i, kept.get(i)));
        }
        return state;
    }

    /** Made when first asked for: a run that is never evaluated has none. */
    private List<Tensor> copies() {
        if (copies.isEmpty()) {
            weights.forEach(weight -> copies.add(scope.empty(weight.dtype(), weight.device(), weight.sizes())));
        }
        return copies;
    }

    @Override
    public void close() {
        scope.close();
    }
}
