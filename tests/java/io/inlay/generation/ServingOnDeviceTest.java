package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOnDevice;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** An engine over a device: deltas are loaded to it, sequences are put aside from it, and answers are the CPU's to the bit. */
@Timeout(300)
class ServingOnDeviceTest {

    @TempDir
    private Path folder;

    @Test
    void requests_of_several_tenants_that_do_not_fit_together_have_the_cpus_answers() throws Exception {
        Files.createDirectories(folder.resolve("swap"));
        DeltaStore store = Stores.folder(folder.resolve("store"));
        Path base = Golden.of("llama31-like").folder();
        List<int[]> expected;
        List<DeltaVersion> versions = new ArrayList<>();
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), base, ModelOptions.of(DType.BF16))) {
            for (int i = 0; i < 3; i++) {
                versions.add(Deltas.publish(store, cpu, "task-" + i, i));
            }
            expected = answers(cpu, store, versions, 1L << 30);
        }
        try (LlamaModel device = ModelOnDevice.open(base, DType.BF16)) {
            long cache = (KvPool.pagesFor(90 + 60) + 3) * KvPool.pageBytes(device);
            List<int[]> answers = answers(device, store, versions, cache);
            for (int i = 0; i < expected.size(); i++) {
                assertThat(answers.get(i)).as("answer %d", i).isEqualTo(expected.get(i));
            }
            assertThat(device.torch().devices().held(HostAsCuda.DEVICE).keySet()).as("what serving has left")
                    .containsExactly("weights of llama31-like");
        }
    }

    private List<int[]> answers(LlamaModel model, DeltaStore store, List<DeltaVersion> versions, long cacheBytes) {
        SplittableRandom random = new SplittableRandom(10);
        try (DeltaResidency residency = new DeltaResidency(model, store, Long.MAX_VALUE);
                GenerationEngine engine = new GenerationEngine(model, residency, new Limits(6, 100, cacheBytes, folder.resolve("swap")))) {
            residency.merge(versions.getLast());
            List<Transcript> transcripts = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                Transcript transcript = new Transcript();
                Optional<DeltaVersion> delta = i % 4 == 3 ? Optional.empty() : Optional.of(versions.get(i % 4));
                engine.submit("acme", new GenerationRequest(delta, random.ints(1 + random.nextInt(90), 5, 500).toArray(),
                        new Sampling(1.5, 1, 0, OptionalLong.of(i)), 60, List.of()), transcript);
                transcripts.add(transcript);
            }
            transcripts.forEach(Transcript::finished);
            if (!model.device().isCpu()) {
                assertThat(engine.memory().putAside()).as("requests put aside").isPositive();
                assertThat(model.torch().devices().held(model.device())).containsKeys("deltas of " + model.name(),
                        "merged deltas of " + model.name(), "keys and values of " + model.name());
            }
            return transcripts.stream().map(Transcript::tokens).toList();
        }
    }
}
