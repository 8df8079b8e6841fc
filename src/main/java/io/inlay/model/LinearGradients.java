package io.inlay.model;

import io.inlay.kernels.Kernels;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;

/**
 * Weight gradients of linears, {@code dW = dY^T X}: whole for full fine-tuning and for warm-up, and of selected blocks alone for SMT,
 * where block (i, j) is {@code dY[:, rows i]^T X[:, columns j]} (the paper's section 3). Adapters' gradients are made by
 * {@link AdapterPasses}.
 *
 * <p>Legend: N tokens, O output features, K input features, l edge.
 */
final class LinearGradients {

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final Trainable trainable;
    private final AdapterPasses adapters;
    private final Workspace workspace;

    LinearGradients(LlamaModel model, Trainable trainable, AdapterPasses adapters, Workspace workspace) {
        this.model = model;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.trainable = trainable;
        this.adapters = adapters;
        this.workspace = workspace;
    }

    boolean wants(int layer, Projection projection) {
        return trainable.trains(projection.tensor(layer));
    }

    boolean wantsAttention(int layer) {
        return wants(layer, Projection.Q) || wants(layer, Projection.K) || wants(layer, Projection.V) || wants(layer, Projection.O);
    }

    /** Adds (or shows) the gradient of a linear that is trained: gradOut [N, O], x [N, K]. Does nothing for a frozen one. */
    void add(int layer, Projection projection, Tensor gradOut, Tensor x) {
        String tensor = projection.tensor(layer);
        if (!trainable.trains(tensor)) {
            return;
        }
        switch (trainable) {
            case TrainableModel full -> addDense(full.gradient(tensor), gradOut, x);
            case TrainableBlocks blocks -> addBlocks(blocks, blocks.part(tensor), gradOut, x);
            case LowRankAdapters _ -> adapters.addGradients(adapters.part(layer, projection), gradOut, x);
            case GradientProbe probe -> probe.sink().accept(tensor, dense(gradOut, x));
        }
    }

    /** {@code gradient += gradOut^T x}: gradient fp32 [O, K]. */
    void addDense(Tensor gradient, Tensor gradOut, Tensor x) {
        kernels.accumulate(gradient, dense(gradOut, x));
    }

    private Tensor dense(Tensor gradOut, Tensor x) {
        Tensor product = workspace.get("weight gradient", model.dtype(), gradOut.size(1), x.size(1));
        try (Scope scope = new Scope(torch)) {
            kernels.product(product, gradOut.transpose(scope, 0, 1), x, false);
        }
        return product;
    }

    private void addBlocks(TrainableBlocks blocks, TrainableBlocks.Part part, Tensor gradOut, Tensor x) {
        int edge = blocks.edge();
        int count = part.coordinates().size();
        Tensor products = workspace.get("block gradients", model.dtype(), count, edge, edge);
        kernels.blockGradients(gradOut, x, part.coordinates(), edge, products);
        try (Scope scope = new Scope(torch)) {
            kernels.accumulate(blocks.gradients().narrow(scope, 0, part.first(), count), products);
        }
    }
}
