package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Draw;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A model whose memory is a device's does what it does on the CPU, to the bit, and nothing but kernels reads or writes that memory. */
class ModelOnDeviceTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");

    @TempDir
    private Path folder;

    /** What each of the two gives. */
    private static <T> void same(DType type, Function<LlamaModel, T> work) {
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), FOLDER, ModelOptions.of(type));
                LlamaModel device = ModelOnDevice.open(FOLDER, type)) {
            assertThat(work.apply(device)).usingRecursiveComparison().isEqualTo(work.apply(cpu));
        }
    }

    @Test
    void its_weights_are_refused_to_the_host() {
        try (LlamaModel device = ModelOnDevice.open(FOLDER, DType.BF16)) {
            assertThatThrownBy(() -> device.tensor(LlamaWeights.NORM).segment()).isInstanceOf(IllegalStateException.class)
                    .hasMessageStartingWith("the memory of bf16[").hasMessageContaining("cuda:0 is not the host's");
            assertThat(device.torch().devices().held(HostAsCuda.DEVICE)).containsEntry("weights of llama31-like",
                    device.bytes() + 4L * device.maxContext() * device.config().headDim());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void it_is_the_same_base(DType type) {
        same(type, model -> List.of(model.digest(), model.fingerprint(), bits(model.matrix(Projection.Q.tensor(0)).bits()),
                bits(model.whole(LlamaWeights.NORM).values())));
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_text_gives_the_same_logits_through_pages_tiles_and_copies(DType type) {
        same(type, model -> {
            List<float[]> logits = new ArrayList<>();
            try (Arena arena = Arena.ofShared(); LlamaInference inference = new LlamaInference(model);
                    WeightOverlay tiled = WeightOverlay.of(model, blocks(model, 1, arena), List.of(norm(model, arena)));
                    WeightOverlay merged = WeightOverlay.merged(model, blocks(model, 1, arena), List.of(norm(model, arena)));
                    WeightOverlay other = WeightOverlay.of(model, blocks(model, 2, arena));
                    KvCache first = inference.cache(100); KvCache second = inference.cache(100); KvCache third = inference.cache(100)) {
                logits.add(inference.prefill(tokens(45), first, tiled));
                logits.add(inference.prefill(tokens(45), second, merged));
                assertThat(logits.get(1)).isEqualTo(logits.get(0));
                logits.add(inference.prefill(tokens(20), third, other));
                for (Given each : inference.step(List.of(new LlamaInference.Row(7, third, other, Asked.LOGITS),
                        new LlamaInference.Row(9, first, WeightOverlay.none(), Asked.LOGITS)))) {
                    logits.add(((Given.Logits) each).values());
                }
            }
            return logits;
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void rows_are_given_what_each_asked_for_and_a_token_is_that_of_its_logits(DType type) {
        same(type, model -> {
            List<Given> given;
            List<Asked> asked = List.of(new Asked.Token(Draw.GREEDY), Asked.LOGITS, Asked.NOTHING,
                    new Asked.Token(new Draw(1, 40, 0.9, 0, 5)), Asked.LOGITS, new Asked.Token(new Draw(2, 0, 1, 0, -5)));
            List<Given> alone = new ArrayList<>();
            try (LlamaInference inference = new LlamaInference(model); KvPool pool = new KvPool(model, 40)) {
                List<KvCache> caches = new ArrayList<>();
                for (int i = 0; i < 2 * asked.size(); i++) {
                    caches.add(pool.cache(40));
                    inference.prefill(tokens(20 + i % asked.size()), caches.get(i), WeightOverlay.none());
                    assertThat(caches.get(i).reserve(caches.get(i).length() + 1)).isTrue();
                }
                given = inference.step(IntStream.range(0, asked.size())
                        .mapToObj(i -> new LlamaInference.Row(7 + i, caches.get(i), WeightOverlay.none(), asked.get(i))).toList());
                for (int i = 0; i < asked.size(); i++) {
                    float[] logits = inference.decode(7 + i, caches.get(asked.size() + i), WeightOverlay.none());
                    alone.add(switch (asked.get(i)) {
                        case Asked.Nothing _ -> Given.NOTHING;
                        case Asked.Logits _ -> new Given.Logits(logits);
                        case Asked.Token token -> new Given.Token(model.kernels().draw(logits, token.draw()));
                    });
                }
                caches.forEach(KvCache::close);
            }
            assertThat(given).usingRecursiveComparison().isEqualTo(alone);
            return given;
        });
    }

    @Test
    void keys_and_values_come_back_from_a_file_as_they_were() {
        same(DType.BF16, model -> {
            try (KvPool pool = new KvPool(model, 8); LlamaInference inference = new LlamaInference(model); KvCache cache = pool.cache(100);
                    FileChannel file = FileChannel.open(folder.resolve(model.device() + ".swap"), StandardOpenOption.CREATE,
                            StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                inference.prefill(tokens(40), cache, WeightOverlay.none());
                cache.swapOut(file);
                try (KvCache between = pool.cache(100)) {
                    inference.prefill(tokens(70), between, WeightOverlay.none());
                }
                assertThat(cache.swapIn(file)).isTrue();
                return inference.decode(5, cache, WeightOverlay.none());
            } catch (IOException failure) {
                throw new java.io.UncheckedIOException(failure);
            }
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_text_has_the_same_mean_and_logits_at_every_position(DType type) {
        same(type, model -> {
            List<float[]> all = new ArrayList<>();
            try (Arena arena = Arena.ofShared(); LlamaEncoder encoder = new LlamaEncoder(model);
                    WeightOverlay overlay = WeightOverlay.of(model, blocks(model, 3, arena))) {
                all.add(encoder.mean(tokens(30), overlay));
                encoder.logits(tokens(30), overlay, all::add);
            }
            return all;
        });
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void it_leaves_as_the_same_checkpoint(DType type) {
        same(type, model -> {
            try (Arena arena = Arena.ofShared(); ByteArrayOutputStream out = new ByteArrayOutputStream()) {
                new MergedExport(model, blocks(model, 4, arena), List.of(norm(model, arena)), Long.MAX_VALUE).write(out);
                return out.toByteArray();
            } catch (IOException failure) {
                throw new java.io.UncheckedIOException(failure);
            }
        });
    }

    private static int[] tokens(int count) {
        return new SplittableRandom(count).ints(count, 5, 500).toArray();
    }

    private static short[] bits(MemorySegment values) {
        return values.toArray(ValueLayout.JAVA_SHORT_UNALIGNED);
    }

    /** Two blocks of layer 0's q, moved a little. */
    private static List<TensorBlocks> blocks(LlamaModel model, long seed, Arena arena) {
        String query = Projection.Q.tensor(0);
        var matrix = model.matrix(query);
        MemorySegment values = arena.allocate(2L * 2 * 16 * 16, 64);
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = 0; i < 512; i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits((float) (0.2 * random.nextGaussian())) >>> 16));
        }
        return List.of(new TensorBlocks(query, matrix.rows(), matrix.columns(), 16,
                List.of(new BlockCoordinate(0, 1), new BlockCoordinate(1, 0)), values));
    }

    private static WholeTensor norm(LlamaModel model, Arena arena) {
        WholeTensor norm = model.whole(LlamaWeights.NORM);
        MemorySegment values = arena.allocate(norm.values().byteSize(), 64).fill((byte) 0x3F);
        return new WholeTensor(norm.tensor(), norm.shape(), values);
    }
}
