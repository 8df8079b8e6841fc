package io.inlay.kernels;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.Tensor;
import java.util.List;

/** What is asked of single blocks of a matrix, as the formulas have it, with sums in double precision. */
final class ScalarBlocks {

    private ScalarBlocks() {
    }

    static void addMeans(Tensor g, int edge, Tensor scores, boolean absolute) {
        Floats values = Floats.of(g);
        Floats sums = Floats.of(scores);
        for (int i = 0; i < scores.dim(0); i++) {
            for (int j = 0; j < scores.dim(1); j++) {
                double sum = 0;
                for (int r = 0; r < edge; r++) {
                    for (int c = 0; c < edge; c++) {
                        float value = values.get(((long) i * edge + r) * g.stride(0) + (long) j * edge + c);
                        sum += absolute ? Math.abs(value) : value;
                    }
                }
                sums.add(i * scores.stride(0) + j, (float) (sum / ((double) edge * edge)));
            }
        }
    }

    static void gradients(Tensor gradOut, Tensor x, List<BlockCoordinate> blocks, int edge, Tensor gradients) {
        Floats grads = Floats.of(gradOut);
        Floats xs = Floats.of(x);
        Floats results = Floats.of(gradients);
        for (int b = 0; b < blocks.size(); b++) {
            long row = (long) blocks.get(b).row() * edge;
            long column = (long) blocks.get(b).column() * edge;
            for (int i = 0; i < edge; i++) {
                for (int j = 0; j < edge; j++) {
                    double sum = 0;
                    for (int n = 0; n < x.dim(0); n++) {
                        sum += (double) grads.get(n * gradOut.stride(0) + row + i) * xs.get(n * x.stride(0) + column + j);
                    }
                    results.set(((long) b * edge + i) * edge + j, (float) sum);
                }
            }
        }
    }
}
