package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvictionTest {

    @TempDir
    private Path folder;

    @Test
    void what_is_resident_of_an_erased_tenant_is_freed_at_once_and_what_is_in_use_with_its_last_lease() throws Exception {
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), CpuKernels.best(), Golden.of("sharded-bf16").folder(),
                ModelOptions.of(DType.BF16))) {
            DeltaRegistry store = Stores.folder(folder);
            DeltaVersion idle = Deltas.publish(store, model, "idle", 1);
            DeltaVersion used = Deltas.publish(store, model, "used", 2);
            try (DeltaResidency residency = new DeltaResidency(model, store, 1 << 24)) {
                residency.acquire(idle).get(60, TimeUnit.SECONDS).close();
                DeltaResidency.Lease lease = residency.acquire(used).get(60, TimeUnit.SECONDS);
                assertThat(residency.figures().resident()).isEqualTo(2);
                store.collector(Duration.ZERO).erase("someone-else");
                assertThat(residency.figures().resident()).isEqualTo(2);
                store.collector(Duration.ZERO).erase(idle.tenant());
                assertThat(residency.figures().resident()).isEqualTo(1);
                lease.close();
                assertThat(residency.figures().resident()).isZero();
                assertThat(residency.figures().bytes()).isZero();
                assertThatThrownBy(() -> residency.acquire(idle).get(60, TimeUnit.SECONDS)).hasMessageContaining("is no longer there");
            }
        }
    }
}
