package io.inlay.kernels;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Memory of libtorch's allocator, which tensors have theirs from too. */
final class TorchMemory implements DeviceMemory {

    private final Libtorch torch;
    private final Device device;
    private final Map<Long, Scope> allocated = new ConcurrentHashMap<>();

    TorchMemory(Libtorch torch, Device device) {
        this.torch = torch;
        this.device = device;
    }

    @Override
    public long allocate(long bytes) {
        Scope scope = new Scope(torch);
        Tensor memory = scope.empty(DType.UINT8, device, Math.max(1, bytes));
        allocated.put(memory.address(), scope);
        return memory.address();
    }

    @Override
    public void free(long address) {
        Scope scope = allocated.remove(address);
        if (scope != null) {
            scope.close();
        }
    }

    @Override
    public void close() {
        allocated.keySet().forEach(this::free);
    }
}
