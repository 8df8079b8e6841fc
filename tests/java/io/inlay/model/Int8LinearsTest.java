package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.Int8Weight;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A model whose linears are served in int8: against a dense one of the dequantised weights, with deltas, in batches, and trained. */
class Int8LinearsTest {

    private static final int EDGE = 16;

    private static LlamaModel open(Path folder, DType type, ModelOptions.Form form) {
        return LlamaModel.open(Libtorch.load(), CpuKernels.best(), folder, ModelOptions.of(type).with(form));
    }

    private static LlamaModel int8(String golden, DType type) {
        return open(Golden.of(golden).folder(), type, ModelOptions.Form.INT8);
    }

    private static LlamaModel exact(String golden, DType type) {
        return open(Golden.of(golden).folder(), type, ModelOptions.Form.EXACT);
    }

    private static int[] tokens(int count) {
        return new SplittableRandom(count).ints(count, 5, 500).toArray();
    }

    /** A copy of an exact model's weights with the linears, and an untied head, as the int8 model dequantises them. */
    private static TrainableModel dequantised(LlamaModel exact, LlamaModel int8) {
        TrainableModel dense = new TrainableModel(exact);
        for (ParameterShape parameter : exact.config().parameters()) {
            Int8Weight bytes = int8.int8(int8.tensor(parameter.name()));
            if (bytes != null) {
                exact.kernels().dequantise(bytes, null, dense.parameters().get(parameter.name()).weight());
            }
        }
        return dense;
    }

    @ParameterizedTest
    @CsvSource({"llama2-like, FP32, 1e-4", "sharded-bf16, FP32, 1e-4", "llama2-like, BF16, 0.03", "sharded-bf16, BF16, 0.03"})
    void logits_are_those_of_a_dense_model_of_the_dequantised_weights_with_and_without_a_delta(String name, DType type, double bound) {
        int[] prompt = tokens(45);
        try (LlamaModel int8 = int8(name, type); LlamaModel exact = exact(name, type); TrainableModel dense = dequantised(exact, int8);
                Arena arena = Arena.ofConfined(); WeightOverlay delta = WeightOverlay.of(int8, blocks(int8, 1, arena));
                LlamaInference served = new LlamaInference(int8); LlamaInference expected = new LlamaInference(exact, dense);
                LlamaInference plain = new LlamaInference(exact)) {
            for (WeightOverlay overlay : List.of(WeightOverlay.none(), delta)) {
                float[] logits = logits(served, prompt, overlay);
                assertThat(LlamaGoldenTest.distance(logits, logits(expected, prompt, overlay))).isLessThan(bound);
                // So far off that it shows, and near enough to be of use.
                assertThat(LlamaGoldenTest.distance(logits, logits(plain, prompt, overlay))).isBetween(1e-4, 0.05);
            }
            assertThat(LlamaGoldenTest.distance(logits(served, prompt, delta), logits(served, prompt, WeightOverlay.none())))
                    .isGreaterThan(0.1);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama31-like", "fp16"})
    void a_tied_head_has_bytes_of_its_own_and_the_table_stays_as_it_is(String name) {
        try (LlamaModel int8 = int8(name, DType.FP32); LlamaModel exact = exact(name, DType.FP32);
                LlamaInference served = new LlamaInference(int8); LlamaInference plain = new LlamaInference(exact)) {
            assertThat(int8.int8(int8.weights().head())).isNotNull();
            assertThat(int8.servedBytes()).isEqualTo(int8.int8Bytes() + int8.weights().embedding().bytes() + normBytes(int8));
            assertThat(exact.servedBytes()).isEqualTo(exact.bytes()).isEqualTo(int8.bytes());
            float[] logits = logits(served, tokens(30), WeightOverlay.none());
            assertThat(LlamaGoldenTest.distance(logits, logits(plain, tokens(30), WeightOverlay.none()))).isBetween(1e-4, 0.05);
        }
    }

    private static long normBytes(LlamaModel model) {
        return model.config().parameters().stream().filter(parameter -> parameter.shape().length == 1)
                .mapToLong(parameter -> model.tensor(parameter.name()).bytes()).sum();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_row_has_the_bits_that_it_has_alone_whoever_is_in_its_batch(DType type) {
        try (LlamaModel model = int8("llama31-like", type); LlamaInference inference = new LlamaInference(model);
                Arena arena = Arena.ofConfined(); WeightOverlay one = WeightOverlay.of(model, blocks(model, 1, arena));
                WeightOverlay other = WeightOverlay.of(model, blocks(model, 2, arena))) {
            List<WeightOverlay> overlays = List.of(WeightOverlay.none(), one, other, one, WeightOverlay.none());
            List<LlamaInference.Row> rows = new ArrayList<>();
            List<float[]> alone = new ArrayList<>();
            List<KvCache> caches = new ArrayList<>();
            for (int i = 0; i < 13; i++) {
                WeightOverlay overlay = overlays.get(i % overlays.size());
                int[] prompt = tokens(3 + 5 * i);
                KvCache own = inference.cache(100);
                inference.prefill(prompt, own, overlay);
                alone.add(inference.decode(7 + i, own, overlay));
                KvCache shared = inference.cache(100);
                inference.prefill(prompt, shared, overlay);
                shared.reserve(prompt.length + 1);
                caches.addAll(List.of(own, shared));
                rows.add(new LlamaInference.Row(7 + i, shared, overlay, Asked.LOGITS));
            }
            List<Given> together = inference.step(rows);
            for (int i = 0; i < rows.size(); i++) {
                assertThat(((Given.Logits) together.get(i)).values()).as("row %d", i).containsExactly(alone.get(i));
            }
            caches.forEach(KvCache::close);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_prompt_gives_the_same_bits_however_it_is_cut(DType type) {
        int[] prompt = tokens(70);
        try (LlamaModel model = int8("llama31-like", type); LlamaInference inference = new LlamaInference(model);
                KvCache cache = inference.cache(80)) {
            inference.extend(Arrays.copyOf(prompt, 32), 48, cache, WeightOverlay.none());
            inference.extend(Arrays.copyOfRange(prompt, 32, 48), 48, cache, WeightOverlay.none());
            assertThat(inference.prefill(Arrays.copyOfRange(prompt, 48, 70), cache, WeightOverlay.none()))
                    .containsExactly(logits(inference, prompt, WeightOverlay.none()));
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void a_merged_delta_gives_the_bits_of_the_tiled_one_when_its_blocks_are_gone(DType type) {
        try (LlamaModel model = int8("llama31-like", type); LlamaInference inference = new LlamaInference(model);
                Arena kept = Arena.ofConfined(); WeightOverlay tiled = WeightOverlay.of(model, blocks(model, 1, kept))) {
            WeightOverlay merged;
            try (Arena gone = Arena.ofConfined()) {
                List<TensorBlocks> blocks = blocks(model, 1, gone);
                merged = WeightOverlay.merged(model, blocks, List.of());
                blocks.forEach(each -> each.values().fill((byte) 0x7F));
            }
            try (merged) {
                assertThat(logits(inference, tokens(40), merged)).containsExactly(logits(inference, tokens(40), tiled));
            }
        }
    }

    @Test
    void training_reads_the_exact_base_and_identity_and_blocks_are_the_checkpoints() {
        Golden golden = Golden.of("llama31-like");
        PackedBatch batch = new PackedBatch(golden.ints("batch.tokens"), golden.ints("batch.targets"), golden.ints("batch.lengths"));
        try (LlamaModel int8 = int8("llama31-like", DType.BF16); LlamaModel exact = exact("llama31-like", DType.BF16);
                TrainableModel ofInt8 = new TrainableModel(int8); TrainableModel ofExact = new TrainableModel(exact);
                LlamaTraining training = new LlamaTraining(int8, ofInt8); LlamaTraining expected = new LlamaTraining(exact, ofExact)) {
            assertThat(int8.fingerprint()).isEqualTo(exact.fingerprint());
            assertThat(training.forwardBackward(batch, 1)).isEqualTo(expected.forwardBackward(batch, 1));
            for (String parameter : ofExact.parameters().keySet()) {
                assertThat(Scope.floats(exact.torch(), ofInt8.parameters().get(parameter).gradient())).as(parameter)
                        .containsExactly(Scope.floats(exact.torch(), ofExact.parameters().get(parameter).gradient()));
            }
            String tensor = Projection.Q.tensor(1);
            assertThat(int8.matrix(tensor).bits().mismatch(exact.matrix(tensor).bits())).isEqualTo(-1);
        }
    }

    @Test
    void a_digest_covers_the_bytes_too() {
        try (LlamaModel model = int8("llama31-like", DType.BF16)) {
            assertThat(model.digest()).isEqualTo(model.fingerprint());
            Tensor values = model.int8(model.weights().layers().getLast().linear(Projection.DOWN)).values();
            byte one = values.segment().get(ValueLayout.JAVA_BYTE, 100);
            values.segment().set(ValueLayout.JAVA_BYTE, 100, (byte) (one ^ 1));
            assertThat(model.digest()).isNotEqualTo(model.fingerprint());
            values.segment().set(ValueLayout.JAVA_BYTE, 100, one);
            assertThat(model.digest()).isEqualTo(model.fingerprint());
        }
    }

    @Test
    void a_weight_that_is_not_finite_is_refused_by_name(@TempDir Path temporary) throws IOException {
        Path folder = temporary.resolve("broken");
        Files.createDirectories(folder);
        for (String file : List.of("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")) {
            Files.copy(Golden.of("llama2-like").folder().resolve(file), folder.resolve(file));
        }
        String tensor = Projection.UP.tensor(1);
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(folder.resolve("model.safetensors"))).order(ByteOrder.LITTLE_ENDIAN);
        int header = (int) bytes.getLong(0);
        JsonNode entry = new ObjectMapper().readTree(new String(bytes.array(), 8, header, StandardCharsets.UTF_8)).path(tensor);
        int width = entry.path("dtype").asText().equals("F32") ? 4 : 2;
        int at = 8 + header + entry.path("data_offsets").path(0).asInt() + 64 * width * 3;
        bytes.putShort(at + width - 2, (short) 0x7FC0);
        Files.write(folder.resolve("model.safetensors"), bytes.array());
        assertThatThrownBy(() -> open(folder, DType.BF16, ModelOptions.Form.INT8)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.CORRUPT_CHECKPOINT))
                .hasMessage("model broken cannot be served in int8: " + tensor + ": row 3 of bf16[176, 64] cpu has a value that is not "
                        + "finite, so it has no int8 form; fetch the model again, or take it out of inlay.models.int8");
    }

    // ---- what tests share ----

    /** Every third block of every linear, of values far from the base's. */
    private static List<TensorBlocks> blocks(LlamaModel model, long seed, Arena arena) {
        SplittableRandom random = new SplittableRandom(seed);
        List<TensorBlocks> all = new ArrayList<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            for (Projection projection : Projection.values()) {
                long[] shape = model.config().shape(projection);
                int across = (int) shape[1] / EDGE;
                List<BlockCoordinate> places = IntStream.range(0, (int) shape[0] / EDGE * across).filter(_ -> random.nextInt(3) == 0)
                        .mapToObj(k -> new BlockCoordinate(k / across, k % across)).toList();
                MemorySegment values = arena.allocate(2L * EDGE * EDGE * places.size(), 64);
                for (long i = 0; i < values.byteSize() / 2; i++) {
                    float value = (float) (0.1 * random.nextGaussian());
                    values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
                }
                all.add(new TensorBlocks(projection.tensor(layer), (int) shape[0], (int) shape[1], EDGE, places, values));
            }
        }
        return all;
    }

    private static float[] logits(LlamaInference inference, int[] prompt, WeightOverlay overlay) {
        try (KvCache cache = inference.cache(prompt.length)) {
            return inference.prefill(prompt, cache, overlay);
        }
    }
}
