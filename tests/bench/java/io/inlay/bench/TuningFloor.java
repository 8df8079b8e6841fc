package io.inlay.bench;

import io.inlay.model.LlamaConfig;
import io.inlay.model.LlamaModel;
import io.inlay.model.PackedBatch;
import io.inlay.model.Projection;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The least that a step of Sparse Matrix Tuning can take here: the operations that it cannot do without (every linear forward, dX of what
 * lies above the lowest trained layer's q, k and v, the selected blocks' dW, logits of target tokens forward and dX; attention is not
 * counted) at the rate that libtorch's own bf16 GEMM reaches on the layer's shapes, measured now.
 *
 * @param gflops the rate, in 10^9 operations a second
 * @param operations necessary
 */
record TuningFloor(double gflops, long operations) {

    private static final int REPEATS = 3;

    double seconds() {
        return operations / (gflops * 1e9);
    }

    /** For blocks whose lowest is in layer 0, as those of a contender are. */
    static TuningFloor of(LlamaModel model, long trained, PackedBatch batch) {
        LlamaConfig config = model.config();
        long n = batch.tokens().length;
        long linears = 0;
        long lowest = 0;
        for (Projection projection : Projection.values()) {
            linears += weights(config, projection);
            if (projection == Projection.Q || projection == Projection.K || projection == Projection.V) {
                lowest += weights(config, projection);
            }
        }
        long forward = 2 * n * linears * config.layers();
        long backward = forward - 2 * n * lowest;
        long head = 2 * 2L * batch.targetCount() * config.hiddenSize() * config.vocabularySize();
        return new TuningFloor(rate(model, n), forward + backward + head + 2 * n * trained);
    }

    private static long weights(LlamaConfig config, Projection projection) {
        return config.parameters().stream().filter(parameter -> parameter.name().equals(projection.tensor(0)))
                .mapToLong(parameter -> parameter.shape()[0] * parameter.shape()[1]).findFirst().orElseThrow();
    }

    /** Every linear of a layer forward and backward, over two layers' weights in turn so that none stays in cache; the median of some. */
    private static double rate(LlamaModel model, long n) {
        List<Double> rates = new ArrayList<>();
        try (Scope scope = new Scope(model.torch())) {
            List<Tensor> weights = new ArrayList<>();
            for (ShapeOf shape : shapes(model.config())) {
                for (int copy = 0; copy < 2; copy++) {
                    weights.add(scope.zeros(DType.BF16, model.device(), shape.out(), shape.in()));
                }
            }
            for (int repeat = 0; repeat <= REPEATS; repeat++) {
                long operations = 0;
                long nanos = 0;
                for (Tensor weight : weights) {
                    try (Scope pass = new Scope(model.torch())) {
                        Tensor x = pass.zeros(DType.BF16, model.device(), n, weight.size(1));
                        Tensor y = pass.zeros(DType.BF16, model.device(), n, weight.size(0));
                        Tensor transposed = weight.transpose(pass, 0, 1);
                        long start = System.nanoTime();
                        model.torch().mm(y, x, transposed);
                        model.torch().mm(x, y, weight);
                        nanos += System.nanoTime() - start;
                        operations += 4 * n * weight.elements();
                    }
                }
                if (repeat > 0) {
                    rates.add((double) operations / nanos);
                }
            }
        }
        return Figures.median(rates);
    }

    private record ShapeOf(long out, long in) {
    }

    private static List<ShapeOf> shapes(LlamaConfig config) {
        List<ShapeOf> shapes = new ArrayList<>();
        for (Projection projection : Projection.values()) {
            config.parameters().stream().filter(parameter -> parameter.name().equals(projection.tensor(0)))
                    .forEach(parameter -> shapes.add(new ShapeOf(parameter.shape()[0], parameter.shape()[1])));
        }
        return shapes;
    }
}
