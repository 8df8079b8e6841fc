package io.inlay.model;

import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.HostAsCudaKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import java.nio.file.Path;

/** A model on {@link HostAsCuda#DEVICE}, whose memory is refused to all but its kernels. */
public final class ModelOnDevice {

    private ModelOnDevice() {
    }

    public static LlamaModel open(Path folder, DType type) {
        return LlamaModel.open(HostAsCuda.load(), HostAsCudaKernels.over(CpuKernels.best()), folder,
                new ModelOptions(type, 0, null, HostAsCuda.DEVICE));
    }
}
