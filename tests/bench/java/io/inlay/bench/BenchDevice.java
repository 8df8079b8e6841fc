package io.inlay.bench;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.DeviceKernels;
import io.inlay.kernels.Kernels;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.nio.file.Path;

/** Where a contender computes, by the names that torch uses too: {@code cpu}, {@code cuda:0}. */
record BenchDevice(Device device) {

    static final BenchDevice CPU = new BenchDevice(Device.CPU);

    static BenchDevice named(String name) {
        return new BenchDevice(Device.named(name));
    }

    /** The argument at that place; the CPU where there is none. */
    static BenchDevice argument(String[] arguments, int place) {
        return arguments.length > place ? named(arguments[place]) : CPU;
    }

    /**
     * The fastest kernels of the device.
     *
     * @throws io.inlay.Problem {@code UNAVAILABLE} where the device cannot be used
     */
    Kernels kernels(Libtorch torch) {
        return DeviceKernels.of(torch, device, null);
    }

    /** What equality on the device is held to: the CPU's fastest kernels, and on the CPU the ones in Java, which are not its fastest. */
    Kernels reference() {
        return CpuKernels.best(device.isCpu() ? "vector" : null);
    }

    /** A model in bf16. */
    LlamaModel open(Libtorch torch, Kernels kernels, Path checkpoint) {
        return LlamaModel.open(torch, kernels, checkpoint, new ModelOptions(DType.BF16, 0, null, device));
    }

    @Override
    public String toString() {
        return device.toString();
    }
}
