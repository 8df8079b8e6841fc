package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.model.Asked;
import io.inlay.model.Given;
import io.inlay.model.KvCache;
import io.inlay.model.KvPool;
import io.inlay.model.LlamaInference;
import io.inlay.model.LlamaModel;
import io.inlay.model.ModelOptions;
import io.inlay.model.Projection;
import io.inlay.model.WeightOverlay;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Decoding by the CUDA kernels: what goes to the device in a step, and that what is there already is right. */
class CudaDecodingTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final int EDGE = 64;

    @TempDir
    private Path folder;

    private CountedLauncher launcher;

    @BeforeEach
    void find() {
        launcher = new CountedLauncher(TestedCuda.hostLauncher());
    }

    @AfterEach
    void close() {
        if (launcher != null) {
            launcher.close();
        }
    }

    private LlamaModel onDevice(DType type) {
        return LlamaModel.open(HostAsCuda.load(), new CudaKernels(launcher), FOLDER, new ModelOptions(type, 0, null, HostAsCuda.DEVICE));
    }

    @Test
    void a_step_copies_pages_once_and_goes_on_where_its_pages_were_put_aside() throws IOException {
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), FOLDER, ModelOptions.of(DType.FP32));
                LlamaModel device = onDevice(DType.FP32); LlamaInference expected = new LlamaInference(cpu);
                LlamaInference actual = new LlamaInference(device); KvPool pool = new KvPool(device, 8);
                KvCache ours = pool.cache(60); KvCache between = pool.cache(60); KvCache theirs = expected.cache(60);
                FileChannel file = FileChannel.open(folder.resolve("swap"), StandardOpenOption.CREATE, StandardOpenOption.READ,
                        StandardOpenOption.WRITE)) {
            close("after the prompt", actual.prefill(tokens(27), ours, WeightOverlay.none()),
                    expected.prefill(tokens(27), theirs, WeightOverlay.none()));
            for (int step = 0; step < 10; step++) {
                if (step == 7) {
                    ours.swapOut(file);
                    actual.prefill(tokens(20), between, WeightOverlay.none());
                    assertThat(ours.swapIn(file)).isTrue();
                }
                launcher.forget();
                close("step " + step, actual.decode(5 + step, ours, WeightOverlay.none()),
                        expected.decode(5 + step, theirs, WeightOverlay.none()));
                assertThat(launcher.uploads()).as("step %d", step).isOne();
                assertThat(launcher.graphs()).as("step %d: before the pages are copied, and after", step).isEqualTo(step < 2 ? 0 : 2);
                assertThat(launcher.launched()).filteredOn(each -> each.contains("rope") || each.contains("keep"))
                        .hasSize(device.config().layers()).containsOnly("rope_keep_f32");
            }
        }
    }

    private static void close(String what, float[] actual, float[] expected) {
        Results.expectClose(what, actual, expected, 1e-4, 1e-4);
    }

    @Test
    void a_layer_is_nine_launches_whatever_its_tables_and_one_more_where_a_delta_has_blocks_in_its_gate() {
        try (Arena arena = Arena.ofShared(); LlamaModel model = onDevice(DType.BF16); LlamaInference inference = new LlamaInference(model);
                WeightOverlay query = WeightOverlay.of(model, blocks(model, Projection.Q, 1, arena));
                WeightOverlay gate = WeightOverlay.of(model, blocks(model, Projection.GATE, 2, arena));
                KvCache first = inference.cache(20); KvCache second = inference.cache(20)) {
            for (KvCache each : List.of(first, second)) {
                inference.prefill(tokens(9), each, WeightOverlay.none());
            }
            List<String> attention = List.of("rope_keep_bf16", "paged_attention_64_bf16", "attention_splits_bf16", "linear_bf16_8x16",
                    "rms_norm_bf16");
            List<String> end = List.of("linear_bf16_8x16", "rms_norm_bf16");
            assertThat(launchesOfLayers(inference, row(first, WeightOverlay.none())))
                    .isEqualTo(layers(model, List.of("linear_bf16_8x16"), attention, List.of("gated_linear_bf16_8x16"), end));
            assertThat(launchesOfLayers(inference, row(first, query), row(second, WeightOverlay.none())))
                    .isEqualTo(layers(model, List.of("linear_mixed_bf16_8x16"), attention, List.of("gated_linear_bf16_8x16"), end));
            assertThat(launchesOfLayers(inference, row(first, gate), row(second, gate)))
                    .isEqualTo(layers(model, List.of("linear_bf16_8x16"), attention, List.of("linear_bf16_8x16", "swiglu_bf16"), end));
        }
    }

    private static LlamaInference.Row row(KvCache cache, WeightOverlay overlay) {
        assertThat(cache.reserve(cache.length() + 1)).isTrue();
        return new LlamaInference.Row(7, cache, overlay, Asked.LOGITS);
    }

    /** What one step launches between the embedding with its norm and the head. */
    private List<String> launchesOfLayers(LlamaInference inference, LlamaInference.Row... rows) {
        launcher.forget();
        inference.step(List.of(rows));
        List<String> all = launcher.launched();
        assertThat(all).startsWith("embed_bf16", "rms_norm_bf16").endsWith("rms_norm_bf16", "linear_bf16_8x16");
        return all.subList(2, all.size() - 1);
    }

    @SafeVarargs
    private static List<String> layers(LlamaModel model, List<String>... layer) {
        List<String> one = Stream.of(layer).flatMap(List::stream).toList();
        return Collections.nCopies(model.config().layers(), one).stream().flatMap(List::stream).toList();
    }

    @Test
    void a_row_has_the_bits_alone_that_it_has_beside_others_while_their_tables_stay_on_the_device() {
        try (Arena arena = Arena.ofShared(); LlamaModel model = onDevice(DType.BF16); LlamaInference inference = new LlamaInference(model);
                WeightOverlay first = WeightOverlay.of(model, blocks(model, Projection.Q, 1, arena));
                WeightOverlay second = WeightOverlay.of(model, blocks(model, Projection.Q, 2, arena));
                KvPool pool = new KvPool(model, 20)) {
            List<WeightOverlay> overlays = List.of(first, second, WeightOverlay.none());
            List<KvCache> together = new ArrayList<>();
            List<KvCache> alone = new ArrayList<>();
            for (int i = 0; i < overlays.size(); i++) {
                for (List<KvCache> caches : List.of(together, alone)) {
                    caches.add(pool.cache(40));
                    inference.prefill(tokens(14 + i), caches.get(i), overlays.get(i));
                }
            }
            for (int step = 0; step < 4; step++) {
                List<LlamaInference.Row> rows = new ArrayList<>();
                for (int i = 0; i < overlays.size(); i++) {
                    assertThat(together.get(i).reserve(together.get(i).length() + 1)).isTrue();
                    rows.add(new LlamaInference.Row(7 + step, together.get(i), overlays.get(i), i == step ? Asked.NOTHING : Asked.LOGITS));
                }
                launcher.forget();
                List<Given> given = inference.step(rows);
                assertThat(launcher.launched()).filteredOn(each -> each.contains("mixed")).hasSize(model.config().layers());
                int lists = step == 0 ? model.config().layers() : 0;
                int pages = step < overlays.size() ? 2 : 1;
                assertThat(launcher.uploads()).as("step %d: pages of all, and of those who ask", step).isEqualTo(lists + pages);
                for (int i = 0; i < overlays.size(); i++) {
                    float[] own = inference.decode(7 + step, alone.get(i), overlays.get(i));
                    assertThat(given.get(i)).as("step %d, row %d", step, i).usingRecursiveComparison()
                            .isEqualTo(i == step ? Given.NOTHING : new Given.Logits(own));
                }
            }
            together.forEach(KvCache::close);
            alone.forEach(KvCache::close);
        }
    }

    private static int[] tokens(int count) {
        return new SplittableRandom(count).ints(count, 5, 500).toArray();
    }

    /** The first block of a projection, in every layer. */
    private static List<TensorBlocks> blocks(LlamaModel model, Projection projection, long seed, Arena arena) {
        SplittableRandom random = new SplittableRandom(seed);
        List<TensorBlocks> all = new ArrayList<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            MemorySegment values = arena.allocate(2L * EDGE * EDGE, 64);
            for (int i = 0; i < EDGE * EDGE; i++) {
                values.setAtIndex(ValueLayout.JAVA_SHORT, i, BFloat16.fromFloat((float) (0.2 * random.nextGaussian())));
            }
            long[] sizes = model.config().shape(projection);
            all.add(new TensorBlocks(projection.tensor(layer), (int) sizes[0], (int) sizes[1], EDGE, List.of(new BlockCoordinate(0, 0)),
                    values));
        }
        return all;
    }
}
