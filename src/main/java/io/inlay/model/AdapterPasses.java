package io.inlay.model;

import io.inlay.kernels.Dropout;
import io.inlay.kernels.Kernels;
import io.inlay.kernels.WeightDecomposition;
import io.inlay.model.LowRankAdapters.Magnitude;
import io.inlay.model.LowRankAdapters.Part;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/**
 * Forward and backward of linears that have an adapter, by the formulas of {@link LowRankAdapters}. Nothing is kept between the two:
 * dropout is drawn again from its counter, and h = D(x) A^T is made again.
 *
 * <p>Legend: N tokens, r rank, O outputs, K inputs, g the gradient of the linear's output.
 */
final class AdapterPasses {

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final Trainable trainable;
    private final Workspace workspace;
    private boolean training;
    private long step;
    private long pass;

    AdapterPasses(LlamaModel model, Trainable trainable, Workspace workspace) {
        this.model = model;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.trainable = trainable;
        this.workspace = workspace;
    }

    /** Says which forward and backward pass of which step comes next, or that it is an evaluation: dropout depends on it. */
    void begin(boolean forTraining, long ofStep, long ofPass) {
        training = forTraining;
        step = ofStep;
        pass = ofPass;
    }

    /** The linear's adapter; null when it has none. */
    Part part(int layer, Projection projection) {
        return trainable instanceof LowRankAdapters adapters ? adapters.part(projection.tensor(layer)) : null;
    }

    private LowRankAdapters.Settings settings() {
        return ((LowRankAdapters) trainable).settings();
    }

    /** Null where nothing is dropped. */
    private Dropout dropout(Part part) {
        double rate = settings().dropout();
        return training && rate > 0 ? new Dropout(rate, settings().seed(), step, pass, part.place()) : null;
    }

    /** {@code out = y(x)}: x [N, K], out [N, O]. */
    void forward(Part part, Tensor x, Tensor out) {
        Dropout dropout = dropout(part);
        Tensor dropped = dropped(dropout, x);
        if (part.magnitude() == null) {
            project(part, x, out);
            addUpdate(part, dropped, out);
            return;
        }
        measure(part, part.magnitude());
        if (dropout == null) {
            project(part, x, out);
            addUpdate(part, x, out);
            WeightDecomposition.scaleColumns(out, part.magnitude().scale(), out);
            return;
        }
        Tensor directed = directed(part, dropped);
        WeightDecomposition.scaleColumns(directed, part.magnitude().scale(), directed);
        Tensor rest = workspace.get("adapter.rest", model.dtype(), x.sizes());
        dropout.rest(x, rest);
        project(part, rest, out);
        kernels.add(out, directed);
    }

    /** Adds the gradients of A, B and m: gradOut [N, O], x [N, K] as in the forward pass. */
    void addGradients(Part part, Tensor gradOut, Tensor x) {
        Tensor dropped = dropped(dropout(part), x);
        if (part.magnitude() != null) {
            WeightDecomposition.addColumnDots(gradOut, directed(part, dropped), part.magnitude().norms(),
                    part.magnitude().parameter().gradient());
        }
        Tensor scaled = scaled(part, gradOut);
        Tensor hidden = hidden(part, dropped);
        Tensor gradB = workspace.get("adapter.gradB", model.dtype(), part.b().weight().sizes());
        Tensor gradA = workspace.get("adapter.gradA", model.dtype(), part.a().weight().sizes());
        try (Scope scope = new Scope(torch)) {
            torch.addmm(gradB, scaled.transpose(scope, 0, 1), hidden, 0, settings().scaling());
            torch.mm(gradA, gradHidden(part, scaled).transpose(scope, 0, 1), dropped);
        }
        kernels.accumulate(part.b().gradient(), gradB);
        kernels.accumulate(part.a().gradient(), gradA);
    }

    /** {@code gradIn = dy/dx g}, or added to gradIn: gradOut [N, O], gradIn [N, K]. */
    void gradInput(Part part, Tensor gradOut, Tensor gradIn, boolean add) {
        Dropout dropout = dropout(part);
        Tensor scaled = scaled(part, gradOut);
        Tensor gradHidden = gradHidden(part, scaled);
        if (dropout == null) {
            torch.addmm(gradIn, scaled, part.weight(), add ? 1 : 0, 1);
            torch.addmm(gradIn, gradHidden, part.a().weight(), 1, 1);
            return;
        }
        Tensor throughDropout = workspace.get("adapter.dropped", model.dtype(), gradIn.sizes());
        torch.mm(throughDropout, gradHidden, part.a().weight());
        if (part.magnitude() == null) {
            torch.addmm(gradIn, gradOut, part.weight(), add ? 1 : 0, 1);
        } else {
            torch.addmm(throughDropout, scaled, part.weight(), 1, 1);
            Tensor past = workspace.get("adapter.rest", model.dtype(), gradIn.sizes());
            torch.mm(past, gradOut, part.weight());
            dropout.rest(past, past);
            if (add) {
                kernels.add(gradIn, past);
            } else {
                torch.copy(gradIn, past);
            }
        }
        dropout.apply(throughDropout, throughDropout);
        kernels.add(gradIn, throughDropout);
    }

    private Tensor dropped(Dropout dropout, Tensor x) {
        if (dropout == null) {
            return x;
        }
        Tensor dropped = workspace.get("adapter.dropped", model.dtype(), x.sizes());
        dropout.apply(x, dropped);
        return dropped;
    }

    /** {@code out = x W^T}. */
    private void project(Part part, Tensor x, Tensor out) {
        try (Scope scope = new Scope(torch)) {
            torch.mm(out, x, part.weight().transpose(scope, 0, 1));
        }
    }

    /** {@code out += c D(x) A^T B^T}. */
    private void addUpdate(Part part, Tensor dropped, Tensor out) {
        try (Scope scope = new Scope(torch)) {
            torch.addmm(out, hidden(part, dropped), part.b().weight().transpose(scope, 0, 1), 1, settings().scaling());
        }
    }

    /** {@code D(x) (W + c B A)^T} [N, O]: what DoRA gives its length. */
    private Tensor directed(Part part, Tensor dropped) {
        Tensor out = workspace.get("adapter.directed", model.dtype(), dropped.size(0), part.weight().size(0));
        project(part, dropped, out);
        addUpdate(part, dropped, out);
        return out;
    }

    /** {@code h = D(x) A^T} [N, r]. */
    private Tensor hidden(Part part, Tensor dropped) {
        Tensor hidden = workspace.get("adapter.hidden", model.dtype(), dropped.size(0), settings().rank());
        try (Scope scope = new Scope(torch)) {
            torch.mm(hidden, dropped, part.a().weight().transpose(scope, 0, 1));
        }
        return hidden;
    }

    /** {@code c g B} [N, r]. */
    private Tensor gradHidden(Part part, Tensor scaled) {
        Tensor gradient = workspace.get("adapter.gradHidden", model.dtype(), scaled.size(0), settings().rank());
        torch.addmm(gradient, scaled, part.b().weight(), 0, settings().scaling());
        return gradient;
    }

    /** {@code g m / n} for DoRA, g itself for LoRA. */
    private Tensor scaled(Part part, Tensor gradOut) {
        if (part.magnitude() == null) {
            return gradOut;
        }
        Tensor scaled = workspace.get("adapter.scaled", model.dtype(), gradOut.sizes());
        WeightDecomposition.scaleColumns(gradOut, part.magnitude().scale(), scaled);
        return scaled;
    }

    /** n and m / n of the adapter as it is now: {@code n^2 = |W|^2 + c B (2 W A^T + c B A A^T)}, by rows, so that no [O, K] is made. */
    private void measure(Part part, Magnitude magnitude) {
        Tensor a = part.a().weight();
        Tensor b = part.b().weight();
        Tensor cross = workspace.get("adapter.cross", model.dtype(), b.sizes());
        Tensor square = workspace.get("adapter.square", model.dtype(), a.size(0), a.size(0));
        try (Scope scope = new Scope(torch)) {
            Tensor transposed = a.transpose(scope, 0, 1);
            torch.mm(cross, part.weight(), transposed);
            torch.mm(square, a, transposed);
            torch.addmm(cross, b, square, 2, settings().scaling());
        }
        double[] dots = WeightDecomposition.rowDots(b, cross);
        float[] norms = new float[dots.length];
        float[] scale = Scope.floats(torch, magnitude.parameter().weight());
        for (int o = 0; o < dots.length; o++) {
            norms[o] = (float) LowRankAdapters.norm(magnitude.baseSquares()[o] + settings().scaling() * dots[o]);
            scale[o] /= norms[o];
        }
        magnitude.norms().fill(MemorySegment.ofArray(norms));
        magnitude.scale().fill(MemorySegment.ofArray(scale));
    }
}
