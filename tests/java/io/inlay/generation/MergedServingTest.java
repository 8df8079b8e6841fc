package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.awaitility.Awaitility.await;

import io.inlay.Problem;
import io.inlay.generation.GenerationEngine.Limits;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.Golden;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Deltas that are pinned, and served merged: with the bits that they have when they are tiled. */
@Timeout(300)
class MergedServingTest {

    @TempDir
    private Path folder;

    private static LlamaModel open(DType type) {
        return LlamaModel.open(Libtorch.load(), CpuKernels.best(), Golden.of("llama31-like").folder(), ModelOptions.of(type));
    }

    private static GenerationRequest request(DeltaVersion delta, int i) {
        int[] prompt = new SplittableRandom(i).ints(3 + 9L * i, 5, 500).toArray();
        return new GenerationRequest(Optional.of(delta), prompt, new Sampling(3, 1, 0, OptionalLong.of(i)), 25, List.of());
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void merged_and_tiled_give_the_same_bits_beside_each_other_and_the_base_is_not_written(DType type) {
        DeltaStore store = Stores.folder(folder);
        try (LlamaModel model = open(type)) {
            List<DeltaVersion> versions = List.of(Deltas.publish(store, model, "one", 1), Deltas.publish(store, model, "two", 2));
            List<int[]> tiled = answers(model, store, versions, false);
            assertThat(answers(model, store, versions, true)).usingRecursiveComparison().isEqualTo(tiled);
            assertThat(tiled.get(0)).isNotEqualTo(tiled.get(1));
            assertThat(model.digest()).isEqualTo(model.fingerprint());
        }
    }

    /** All at the same time; {@code merged}: the first version's, beside the tiled second's. */
    private static List<int[]> answers(LlamaModel model, DeltaStore store, List<DeltaVersion> versions, boolean merged) {
        try (DeltaResidency residency = new DeltaResidency(model, store, 1 << 24)) {
            if (merged) {
                residency.merge(versions.getFirst());
            }
            List<int[]> all = new ArrayList<>();
            try (GenerationEngine engine = new GenerationEngine(model, residency, new Limits(6, 100))) {
                List<Transcript> under = new ArrayList<>();
                for (int i = 0; i < 8; i++) {
                    Transcript transcript = new Transcript();
                    engine.submit(request(versions.get(i % 2), i), transcript);
                    under.add(transcript);
                }
                under.forEach(each -> {
                    each.finished();
                    all.add(each.tokens());
                });
            }
            assertThat(residency.standing(versions.getFirst()).merged()).isEqualTo(merged);
            assertThat(residency.mergedBytes() > 0).isEqualTo(merged);
            assertThat(residency.standing(versions.getLast()).merged()).isFalse();
            return all;
        }
    }

    @Test
    void a_pinned_version_stays_while_others_come_and_go_and_follows_the_latest() {
        DeltaStore store = Stores.folder(folder);
        String name = open(DType.BF16).name();
        ModelCatalog catalog = new ModelCatalog(store, Map.of(name, () -> open(DType.BF16)), new ModelCatalog.Settings(new Limits(2, 10),
                200_000));
        await().until(() -> catalog.engine(name).isPresent());
        GenerationEngine engine = catalog.engine(name).orElseThrow();
        LlamaModel model = engine.model();
        DeltaVersion first = Deltas.publish(store, model, "kept", 1);
        try (PinnedDeltas pinned = new PinnedDeltas(catalog, List.of(PinnedDeltas.Pin.parse("acme/" + name + ":kept", false),
                PinnedDeltas.Pin.parse("acme/" + name + ":nothing", true)), Duration.ofMillis(20))) {
            await().until(() -> pinned.holds(first));
            for (int i = 0; i < 6; i++) {
                engine.residency().acquire(Deltas.publish(store, model, "other", i)).join().close();
                assertThat(engine.residency().standing(first).resident()).isTrue();
            }
            DeltaVersion second = Deltas.publish(store, model, "kept", 9);
            await().until(() -> pinned.holds(second) && !pinned.holds(first));
            assertThat(engine.residency().standing(first).users()).isZero();
            store.delete(first);
            store.delete(second);
            await().until(() -> !pinned.holds(second));
            assertThat(engine.residency().standing(second).users()).isZero();
        }
        catalog.close();
    }

    @Test
    void what_names_no_delta_cannot_be_pinned() {
        for (String text : List.of("base:task", "acme/base", "/base:task", "acme")) {
            assertThatThrownBy(() -> PinnedDeltas.Pin.parse(text, false)).isInstanceOf(Problem.class).hasMessage("'" + text
                    + "' in inlay.deltas.pinned names no delta; write tenant/base:task, tenant/base:task@number or tenant/base:task@alias");
        }
    }
}
