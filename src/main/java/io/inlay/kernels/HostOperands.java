package io.inlay.kernels;

import io.inlay.tensor.Device;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * Operands of what is computed on the host wherever its tensors live: the baselines' own operations (dropout, DoRA's norms), which are
 * there to be compared with and have no kernels for a device. The CPU's tensors are themselves; others are copied here, and back when this
 * closes.
 */
final class HostOperands implements AutoCloseable {

    private record Copied(Tensor here, Tensor there) {
    }

    private final List<Copied> written = new ArrayList<>();
    private Scope copies;

    Tensor read(Tensor tensor) {
        if (tensor.device().isCpu()) {
            return tensor;
        }
        if (copies == null) {
            copies = new Scope(tensor.torch());
        }
        return copies.copyTo(tensor, tensor.dtype(), Device.CPU);
    }

    /** What is read too, or written in part. */
    Tensor written(Tensor tensor) {
        Tensor here = read(tensor);
        if (here != tensor) {
            written.add(new Copied(here, tensor));
        }
        return here;
    }

    @Override
    public void close() {
        written.forEach(each -> each.there().torch().copy(each.there(), each.here()));
        if (copies != null) {
            copies.close();
        }
    }
}
