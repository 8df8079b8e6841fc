package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointWriterTest {

    private static final String CONFIG = """
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 160,
             "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 300,
             "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 128, "tie_word_embeddings": false,
             "hidden_act": "silu", "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2}
            """;

    @TempDir
    private Path folder;

    @Test
    void what_was_written_is_read_back_bit_for_bit() throws IOException {
        LlamaConfig config = configured();
        try (Arena arena = Arena.ofConfined()) {
            List<DenseTensor> written = config.parameters().stream().map(parameter -> new DenseTensor(parameter, pattern(parameter, arena)))
                    .toList();
            CheckpointWriter.write(folder.resolve("model.safetensors"), written);
            try (Checkpoint read = Checkpoint.open(folder)) {
                assertThat(read.tensors()).hasSize(written.size());
                for (DenseTensor tensor : written) {
                    StoredTensor stored = read.tensors().get(tensor.parameter().name());
                    assertThat(stored.type()).isEqualTo(StoredType.BF16);
                    assertThat(stored.shape()).isEqualTo(tensor.parameter().shape());
                    assertThat(stored.bytes().mismatch(tensor.values())).as(stored.name()).isEqualTo(-1);
                }
            }
        }
    }

    @Test
    void the_header_is_padded_so_that_tensors_start_on_eight_bytes() throws IOException {
        configured();
        RandomWeights.initialise(folder, 1);
        byte[] bytes = Files.readAllBytes(folder.resolve("model.safetensors"));
        long header = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
        assertThat(header % 8).isZero();
        assertThat(new String(bytes, 8, 40, java.nio.charset.StandardCharsets.US_ASCII))
                .startsWith("{\"__metadata__\":{\"format\":\"pt\"},\"model.");
        assertThat(bytes).hasSize(Math.toIntExact(8 + header + 2 * LlamaConfig.parse(folder).parameterCount()));
    }

    @Test
    void a_folder_that_is_not_there_is_a_storage_failure() throws IOException {
        List<ParameterShape> parameters = configured().parameters();
        Path file = folder.resolve("missing/model.safetensors");
        assertThatThrownBy(() -> CheckpointWriter.write(file, parameters, _ -> MemorySegment.NULL)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.STORAGE_FAILED))
                .hasMessageStartingWith("cannot write the checkpoint " + file).hasMessageEndingWith("; check the folder and its free space");
    }

    @Test
    void a_write_that_fails_midway_leaves_the_old_file_and_nothing_else() throws IOException {
        LlamaConfig config = configured();
        Path file = Files.writeString(folder.resolve("model.safetensors"), "old");
        assertThatThrownBy(() -> CheckpointWriter.write(file, config.parameters(), parameter -> {
            throw new IllegalStateException("no values for " + parameter.name());
        })).isInstanceOf(IllegalStateException.class);
        assertThat(file).hasContent("old");
        try (var files = Files.list(folder)) {
            assertThat(files.map(path -> path.getFileName().toString())).containsExactlyInAnyOrder("config.json", "model.safetensors");
        }
    }

    @Test
    void values_of_the_wrong_size_are_a_programming_error() throws IOException {
        List<ParameterShape> parameters = configured().parameters();
        assertThatThrownBy(() -> CheckpointWriter.write(folder.resolve("model.safetensors"), parameters,
                _ -> MemorySegment.ofArray(new byte[6]))).isInstanceOf(IllegalArgumentException.class)
                .hasMessage("model.embed_tokens.weight needs 38400 bytes, not 6");
    }

    @Test
    void fresh_weights_have_the_stated_spread_and_follow_the_seed() throws IOException {
        configured();
        RandomWeights.initialise(folder, 5);
        byte[] first = Files.readAllBytes(folder.resolve("model.safetensors"));
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            checkpoint.tensors().values().forEach(CheckpointWriterTest::requireSpread);
        }
        RandomWeights.initialise(folder, 5);
        assertThat(Files.readAllBytes(folder.resolve("model.safetensors"))).isEqualTo(first);
        RandomWeights.initialise(folder, 6);
        assertThat(Files.readAllBytes(folder.resolve("model.safetensors"))).isNotEqualTo(first);
    }

    private static void requireSpread(StoredTensor tensor) {
        short[] bits = tensor.bytes().toArray(ValueLayout.JAVA_SHORT);
        if (tensor.shape().length == 1) {
            assertThat(bits).as(tensor.name()).containsOnly((short) 0x3F80);
            return;
        }
        double sum = 0;
        double squares = 0;
        for (short each : bits) {
            double value = Float.intBitsToFloat(each << 16);
            sum += value;
            squares += value * value;
        }
        // Eight layers: residual projections are scaled by 1 / sqrt(16). Four standard errors of 2048 values are 6 %.
        double spread = tensor.name().endsWith("o_proj.weight") || tensor.name().endsWith("down_proj.weight") ? 0.005 : 0.02;
        assertThat(Math.sqrt(squares / bits.length)).as(tensor.name()).isBetween(0.93 * spread, 1.07 * spread);
        assertThat(Math.abs(sum / bits.length)).as(tensor.name()).isLessThan(0.1 * spread);
    }

    private LlamaConfig configured() throws IOException {
        Files.writeString(folder.resolve("config.json"), CONFIG);
        return LlamaConfig.parse(folder);
    }

    private static MemorySegment pattern(ParameterShape parameter, Arena arena) {
        MemorySegment values = arena.allocate(2 * parameter.elements(), 2);
        for (long i = 0; i < parameter.elements(); i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (i * 31 + parameter.name().hashCode()));
        }
        return values;
    }
}
