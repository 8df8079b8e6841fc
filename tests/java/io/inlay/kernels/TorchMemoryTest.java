package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import org.junit.jupiter.api.Test;

class TorchMemoryTest {

    private final Libtorch torch = HostAsCuda.load();

    private long held() {
        return torch.devices().held(HostAsCuda.DEVICE).values().stream().mapToLong(each -> each).sum();
    }

    @Test
    void memory_is_given_back_one_by_one_or_by_closing_and_what_comes_after_that_finds_it_gone() {
        TorchMemory memory = new TorchMemory(torch, HostAsCuda.DEVICE);
        long first = memory.allocate(1000);
        long second = memory.allocate(0);
        assertThat(held()).isEqualTo(1001);
        memory.free(first);
        assertThat(held()).isOne();
        memory.close();
        assertThat(held()).isZero();
        // As a tile table's copy is, which the collector finds later.
        memory.free(second);
        assertThat(held()).isZero();
    }
}
