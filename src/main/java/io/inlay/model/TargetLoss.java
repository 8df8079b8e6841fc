package io.inlay.model;

import io.inlay.kernels.Kernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.stream.IntStream;

/**
 * From the last layer's output to the loss and back: final norm, head and cross-entropy of target tokens alone, logits a chunk at a time,
 * never [N, V].
 *
 * <p>Legend: N packed tokens, H hidden, V vocabulary.
 */
final class TargetLoss {

    static final int FEWEST_ROWS = 16;

    private final LlamaModel model;
    private final Libtorch torch;
    private final Kernels kernels;
    private final DType dtype;
    private final LlamaWeights weights;
    private final Trainable trainable;
    private final LinearGradients gradients;
    private final Workspace workspace;

    TargetLoss(LlamaModel model, LlamaWeights weights, Trainable trainable, LinearGradients gradients, Workspace workspace) {
        this.model = model;
        this.torch = model.torch();
        this.kernels = model.kernels();
        this.dtype = model.dtype();
        this.weights = weights;
        this.trainable = trainable;
        this.gradients = gradients;
        this.workspace = workspace;
    }

    /** Loss of the target rows; with {@code gradX}, fills it with the gradient of x [N, H] (zero where there is no target). */
    BatchLoss of(PackedBatch batch, Tensor x, float lossScale, Tensor gradX) {
        if (gradX != null) {
            torch.zero(gradX);
        }
        int[] rows = IntStream.range(0, batch.tokens().length).filter(i -> batch.targets()[i] >= 0).toArray();
        if (rows.length == 0) {
            return new BatchLoss(0, 0);
        }
        try (Scope scope = new Scope(torch)) {
            return of(scope, batch, rows, x, lossScale, gradX);
        }
    }

    private BatchLoss of(Scope scope, PackedBatch batch, int[] rows, Tensor x, float lossScale, Tensor gradX) {
        int count = rows.length;
        int hidden = x.dim(1);
        float epsilon = (float) model.config().normEpsilon();
        Tensor index = scope.of(model.device(), rows, count);
        Tensor targets = scope.of(model.device(), IntStream.of(rows).map(row -> batch.targets()[row]).toArray(), count);
        Tensor picked = workspace.get("picked", dtype, count, hidden);
        Tensor normed = workspace.get("picked.normed", dtype, count, hidden);
        Tensor rstd = workspace.get("picked.rstd", DType.FP32, count);
        Tensor losses = workspace.get("losses", DType.FP32, count);
        kernels.embed(x, index, picked);
        kernels.rmsNorm(picked, weights.norm(), epsilon, normed, rstd);
        Tensor gradNormed = gradX == null ? null : workspace.get("picked.grad", dtype, count, hidden);
        int chunk = (int) Math.max(FEWEST_ROWS, LlamaTraining.LOGIT_BYTES / ((long) model.config().vocabularySize() * dtype.bytes()));
        for (int start = 0; start < count; start += chunk) {
            chunk(start, Math.min(chunk, count - start), normed, targets, losses, lossScale, gradNormed);
        }
        if (gradX != null) {
            Tensor gradPicked = workspace.get("picked.gradX", dtype, count, hidden);
            torch.zero(gradPicked);
            Tensor gradNorm = trainable instanceof TrainableModel full ? full.gradient(LlamaWeights.NORM) : null;
            kernels.rmsNormBackward(gradNormed, picked, weights.norm(), rstd, gradPicked, gradNorm);
            torch.scatterRows(gradX, scope.of(model.device(), IntStream.of(rows).asLongStream().toArray(), count), gradPicked);
        }
        double sum = 0;
        for (float value : Scope.floats(torch, losses)) {
            sum += value;
        }
        return new BatchLoss(sum, count);
    }

    private void chunk(int start, int length, Tensor normed, Tensor targets, Tensor losses, float lossScale, Tensor gradNormed) {
        try (Scope scope = new Scope(torch)) {
            Tensor rows = normed.narrow(scope, 0, start, length);
            Tensor logits = workspace.get("logits", dtype, length, model.config().vocabularySize());
            kernels.product(logits, rows, weights.head().transpose(scope, 0, 1), false);
            kernels.crossEntropy(logits, targets.narrow(scope, 0, start, length), lossScale, gradNormed != null,
                    losses.narrow(scope, 0, start, length));
            if (gradNormed == null) {
                return;
            }
            kernels.product(gradNormed.narrow(scope, 0, start, length), logits, weights.head(), false);
            if (trainable instanceof TrainableModel full) {
                gradients.addDense(full.gradient(model.config().tiedEmbeddings() ? LlamaWeights.EMBEDDING : LlamaWeights.HEAD), logits, rows);
            }
        }
    }
}
