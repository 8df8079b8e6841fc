package io.inlay.tensor;

import java.util.Arrays;

/** What {@link ForeignLibtorchTest} runs in a JVM of its own: two libtorchs in one process would share symbols. */
public final class ForeignLibtorch {

    private ForeignLibtorch() {
    }

    public static void main(String[] arguments) {
        try {
            Class.forName("ai.djl.engine.Engine");
            throw new AssertionError("DJL is on the class path");
        } catch (ClassNotFoundException absent) {
            // as it is to be
        }
        Libtorch torch = Libtorch.load();
        System.out.println(torch.description());
        try (Scope scope = new Scope(torch)) {
            Tensor a = scope.of(Device.CPU, new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
            Tensor product = scope.empty(DType.FP32, Device.CPU, 2, 2);
            torch.mm(product, a, a.transpose(scope, 0, 1));
            torch.addmm(product, a, a.transpose(scope, 0, 1), 1, 0.5);
            System.out.println(Arrays.toString(Scope.floats(torch, product)));
            Tensor scattered = scope.zeros(DType.BF16, Device.CPU, 4, 3);
            torch.scatterRows(scattered, scope.of(Device.CPU, new long[] {3, 1}, 2), scope.copyTo(a, DType.BF16, Device.CPU));
            System.out.println(Arrays.toString(Scope.floats(torch, scattered)));
        }
        System.out.println(torch.devices().missing(Device.cuda(0)).orElse("cuda:0 can be used"));
    }
}
