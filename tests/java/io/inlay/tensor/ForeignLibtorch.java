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
        }
        // Through the dispatcher, as on a device.
        Libtorch asDevice = torch.withHostAsCuda(new Cuda.Absent("the host stands in for it"), new LinuxMemory());
        Device device = Device.cuda(0);
        try (Scope scope = new Scope(asDevice)) {
            Tensor scattered = scope.zeros(DType.BF16, device, 4, 3);
            Tensor source = scope.of(device, new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
            asDevice.scatterRows(scattered, scope.of(device, new long[] {3, 1}, 2), scope.copyTo(source, DType.BF16, device));
            System.out.println(Arrays.toString(Scope.floats(asDevice, scattered)));
        }
        System.out.println(torch.devices().missing(Device.cuda(0)).orElse("cuda:0 can be used"));
    }
}
