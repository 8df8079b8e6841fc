package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.WholeTensor;
import io.inlay.generation.DeltaResidency.Lease;
import io.inlay.kernels.CpuKernels;
import io.inlay.model.DeltaTensors;
import io.inlay.model.Golden;
import io.inlay.model.KvCache;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.MergedCheckpoint;
import io.inlay.model.ModelOptions;
import io.inlay.model.WeightOverlay;
import io.inlay.store.DeltaStore;
import io.inlay.store.DeltaVersion;
import io.inlay.store.Stores;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Many fine-tunes from one base copy: each answers as if its blocks were merged into a checkpoint, and the base stays as it was. */
class DeltaServingTest {

    private static Libtorch torch;
    private static Golden golden;
    private static LlamaModel model;

    @TempDir
    private Path folder;
    private DeltaStore store;

    @BeforeAll
    static void open() {
        torch = Libtorch.load();
        golden = Golden.of("sharded-bf16");
        model = LlamaModel.open(torch, CpuKernels.best(), golden.folder(), ModelOptions.of(DType.BF16));
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @BeforeEach
    void openStore() {
        store = Stores.folder(folder.resolve("store"));
    }

    @Test
    void a_thousand_switches_between_base_and_deltas_leave_every_answer_and_the_bases_digest_as_they_were() {
        List<Optional<DeltaVersion>> answering = publish();
        // Room for all three.
        assertThat(switchAround(answering, 3, 1000)).isEqualTo(3);
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    @Test
    void switches_that_have_to_load_and_free_deltas_leave_every_answer_and_the_bases_digest_as_they_were() {
        List<Optional<DeltaVersion>> answering = publish();
        assertThat(switchAround(answering, 2, 120)).isGreaterThan(20);
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    /** The base and three fine-tunes of it. */
    private List<Optional<DeltaVersion>> publish() {
        List<Optional<DeltaVersion>> answering = new ArrayList<>(List.of(Optional.empty()));
        for (int i = 0; i < 3; i++) {
            answering.add(Optional.of(Deltas.publish(store, model, "task" + i, i)));
        }
        return answering;
    }

    /** Asks each in turn, several at a time, with room for so many deltas; returns how often one was loaded. */
    private long switchAround(List<Optional<DeltaVersion>> answering, int room, int requests) {
        long largest = answering.stream().flatMap(Optional::stream).mapToLong(each -> 2 * each.manifest().values()).max().orElseThrow();
        try (DeltaResidency residency = new DeltaResidency(model, store, room * largest);
                GenerationEngine engine = new GenerationEngine(model, residency, new GenerationEngine.Limits(3, requests))) {
            List<int[]> first = answering.stream().map(each -> tokens(submit(engine, each))).toList();
            assertThat(first.stream().map(Arrays::toString).distinct()).hasSize(4);
            List<Transcript> all = new ArrayList<>();
            for (int i = 0; i < requests; i++) {
                all.add(submit(engine, answering.get(i % 4)));
            }
            for (int i = 0; i < requests; i++) {
                assertThat(tokens(all.get(i))).as("request %d", i).isEqualTo(first.get(i % 4));
            }
            return residency.figures().loads();
        }
    }

    @Test
    void a_delta_gives_bit_for_bit_the_logits_of_a_checkpoint_with_its_blocks_merged_by_hand() throws IOException {
        DeltaVersion version = Deltas.publish(store, model, "task", 9);
        try (Arena arena = Arena.ofConfined(); DeltaResidency residency = new DeltaResidency(model, store, 1 << 24);
                Lease lease = residency.acquire(version).join();
                LlamaModel merged = LlamaModel.open(torch, CpuKernels.best(), MergedCheckpoint.write(golden.folder(),
                        folder.resolve("merged"), Deltas.blocks(model, 9, arena), List.of()), ModelOptions.of(DType.BF16))) {
            int[] prompt = golden.ints("tokens");
            List<float[]> expected = logits(merged, prompt, WeightOverlay.none());
            List<float[]> base = logits(model, prompt, WeightOverlay.none());
            List<float[]> tiled = logits(model, prompt, lease.overlay());
            for (int i = 0; i < expected.size(); i++) {
                assertThat(tiled.get(i)).as("step %d", i).isEqualTo(expected.get(i));
                assertThat(tiled.get(i)).as("step %d", i).isNotEqualTo(base.get(i));
            }
            assertThat(merged.fingerprint()).isNotEqualTo(model.fingerprint());
        }
        assertThat(model.digest()).isEqualTo(model.fingerprint());
    }

    @ParameterizedTest
    @ValueSource(strings = {"tests/golden/llama/sharded-bf16", "tests/golden/tuning/model"})
    void a_delta_of_every_parameter_gives_bit_for_bit_the_logits_of_its_checkpoint(Path base) throws IOException {
        try (LlamaModel own = LlamaModel.open(torch, CpuKernels.best(), base, ModelOptions.of(DType.BF16));
                Arena arena = Arena.ofConfined()) {
            DeltaTensors trained = DeltaTensors.of(own.config(), own.config().parameters(),
                    (parameter, one) -> moved(own.whole(parameter.name()).values(), one), arena);
            DeltaManifest draft = DeltaManifest.draft(own.name(), own.fingerprint(), "full", trained.blocks().getFirst().edge(),
                    "2026-01-01T00:00:00Z", "job-1", Map.of(), "sha256:0", Map.of(), "test");
            DeltaVersion version = store.publish("acme", own.name(), "full", draft, trained.blocks(), trained.tensors(), own);
            assertThat(version.manifest().values()).isEqualTo(own.parameterCount());
            Path merged = MergedCheckpoint.write(base, folder.resolve("merged"), trained.blocks(), trained.tensors());
            try (DeltaResidency residency = new DeltaResidency(own, store, 2 * own.parameterCount());
                    Lease lease = residency.acquire(version).join();
                    LlamaModel checkpoint = LlamaModel.open(torch, CpuKernels.best(), merged, ModelOptions.of(DType.BF16))) {
                int[] prompt = Arrays.stream(golden.ints("tokens")).map(token -> token % own.config().vocabularySize()).toArray();
                List<float[]> expected = logits(checkpoint, prompt, WeightOverlay.none());
                List<float[]> untuned = logits(own, prompt, WeightOverlay.none());
                List<float[]> served = logits(own, prompt, lease.overlay());
                for (int i = 0; i < expected.size(); i++) {
                    assertThat(served.get(i)).as("step %d", i).isEqualTo(expected.get(i)).isNotEqualTo(untuned.get(i));
                }
                assertThat(residency.figures().bytes()).isEqualTo(2 * own.parameterCount());
            }
            assertThat(own.digest()).isEqualTo(own.fingerprint());
        }
    }

    /** Every value a few steps of its own precision away. */
    private static MemorySegment moved(MemorySegment values, Arena arena) {
        MemorySegment copy = arena.allocate(values.byteSize(), 64).copyFrom(values);
        for (long i = 0; i < copy.byteSize() / 2; i++) {
            copy.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (copy.getAtIndex(ValueLayout.JAVA_SHORT, i) ^ i % 13));
        }
        return copy;
    }

    @Test
    void a_whole_tensor_of_another_shape_or_name_is_refused_before_it_is_laid_over_the_base() {
        try (Arena arena = Arena.ofConfined()) {
            WholeTensor shorter = new WholeTensor("model.norm.weight", new long[] {8}, arena.allocate(16));
            WholeTensor foreign = new WholeTensor("model.bias", new long[] {8}, arena.allocate(16));
            assertThatThrownBy(() -> WeightOverlay.of(model, List.of(), List.of(shorter))).isInstanceOf(Problem.class)
                    .hasMessageStartingWith("the delta's model.norm.weight is of [8], the model's ")
                    .hasMessageEndingWith("; it was trained on another base");
            assertThatThrownBy(() -> WeightOverlay.of(model, List.of(), List.of(foreign))).isInstanceOf(Problem.class)
                    .hasMessage("the delta's model.bias is of [8], the model has none; it was trained on another base");
        }
    }

    /** After a prompt long enough for GEMM, after one short enough for the kernels, and along some decoded tokens. */
    private static List<float[]> logits(LlamaModel of, int[] prompt, WeightOverlay overlay) {
        List<float[]> all = new ArrayList<>();
        try (LlamaInference inference = new LlamaInference(of); KvCache cache = inference.cache(100); KvCache small = inference.cache(100)) {
            assertThat(prompt.length).isGreaterThan(16);
            all.add(inference.prefill(prompt, cache, overlay));
            all.add(inference.prefill(Arrays.copyOf(prompt, 5), small, overlay));
            for (int i = 0; i < 20; i++) {
                all.add(inference.decode(prompt[i], cache, overlay));
            }
        }
        return all;
    }

    private static Transcript submit(GenerationEngine engine, Optional<DeltaVersion> delta) {
        Transcript transcript = new Transcript();
        engine.submit(new GenerationRequest(delta, Arrays.copyOf(golden.ints("prompt"), 3), Sampling.GREEDY, 2, List.of()), transcript);
        return transcript;
    }

    private static int[] tokens(Transcript transcript) {
        transcript.finished();
        return transcript.tokens();
    }
}
