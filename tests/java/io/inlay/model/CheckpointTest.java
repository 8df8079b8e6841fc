package io.inlay.model;

import static io.inlay.Problem.Code.CORRUPT_CHECKPOINT;
import static io.inlay.Problem.Code.UNSUPPORTED_MODEL;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.inlay.Problem;
import io.inlay.kernels.ScalarKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Model folders that are whole, and every way known to us in which one is not. */
class CheckpointTest {

    @TempDir
    Path folder;
    private Path weights;

    @BeforeEach
    void name() {
        weights = folder.resolve("model.safetensors");
    }

    @ParameterizedTest
    @CsvSource({"llama2-like, F32, 1", "llama31-like, F32, 1", "sharded-bf16, BF16, 4", "fp16, F16, 1"})
    void what_transformers_saves_is_mapped(String name, StoredType type, int files) {
        try (Checkpoint checkpoint = Checkpoint.open(Golden.of(name).folder())) {
            assertThat(checkpoint.tensors().keySet())
                    .containsExactlyInAnyOrderElementsOf(checkpoint.config().parameters().stream().map(ParameterShape::name).toList());
            assertThat(checkpoint.tensors().values()).allSatisfy(tensor -> {
                assertThat(tensor.type()).isEqualTo(type);
                assertThat(tensor.bytes().isReadOnly()).isTrue();
                assertThat(tensor.bytes().isMapped()).isTrue();
            });
            assertThat(checkpoint.tensors().values().stream().map(StoredTensor::file).distinct()).hasSize(files);
        }
    }

    @Test
    void files_may_be_links_into_a_folder_of_blobs_as_in_hugging_faces_cache() throws IOException {
        Path blobs = Files.createDirectory(folder.resolve("blobs"));
        Path snapshot = Files.createDirectories(folder.resolve("snapshots/abc"));
        try (Stream<Path> files = Files.list(Golden.of("sharded-bf16").folder())) {
            int number = 0;
            for (Path file : files.toList()) {
                Path blob = Files.copy(file, blobs.resolve("blob" + number++));
                Files.createSymbolicLink(snapshot.resolve(file.getFileName()), Path.of("../../blobs").resolve(blob.getFileName()));
            }
        }
        try (Checkpoint linked = Checkpoint.open(snapshot); Checkpoint plain = Checkpoint.open(Golden.of("sharded-bf16").folder())) {
            assertThat(BaseFingerprint.of(linked)).isEqualTo(BaseFingerprint.of(plain));
        }
    }

    @Test
    void weights_that_an_odd_header_puts_across_element_boundaries_are_copied_into_place() throws IOException {
        copy("llama2-like");
        byte[] file = Files.readAllBytes(weights);
        int length = (int) ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
        ByteBuffer odd = ByteBuffer.allocate(file.length + 1).order(ByteOrder.LITTLE_ENDIAN);
        odd.putLong(length + 1).put(file, 8, length).put((byte) ' ').put(file, 8 + length, file.length - 8 - length);
        Files.write(weights, odd.array());
        Golden golden = Golden.of("llama2-like");
        try (Checkpoint checkpoint = Checkpoint.open(folder); Checkpoint plain = Checkpoint.open(golden.folder())) {
            assertThat(checkpoint.tensors().values())
                    .allSatisfy(tensor -> assertThat(tensor.bytes().address() % 4).as(tensor.name()).isZero());
            assertThat(BaseFingerprint.of(checkpoint)).isEqualTo(BaseFingerprint.of(plain));
        }
        try (LlamaModel model = LlamaModel.open(Libtorch.load(), new ScalarKernels(), folder, ModelOptions.of(DType.FP32));
                LlamaInference inference = new LlamaInference(model); KvCache cache = inference.cache(24);
                WeightOverlay none = WeightOverlay.none()) {
            float[] last = inference.prefill(golden.ints("tokens"), cache, none);
            float[] all = golden.floats("logits.fp32");
            for (int i = 0; i < last.length; i++) {
                assertThat(last[i]).isCloseTo(all[all.length - last.length + i], within(1e-3f));
            }
        }
    }

    @Test
    void harmless_extras_of_old_checkpoints_are_left_out() {
        smallModel();
        write("{" + tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", "[1]", 0, 4) + smallTensors(4) + "}", 4 + SMALL_BYTES);
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertThat(checkpoint.tensors()).hasSize(11).doesNotContainKey("model.layers.0.self_attn.rotary_emb.inv_freq");
        }
    }

    @Test
    void a_head_beside_tied_embeddings_is_left_out_but_not_beside_others() {
        smallModel();
        write("{" + tensor("lm_head.weight", "BF16", "[1, 2]", 0, 4) + smallTensors(4) + "}", 4 + SMALL_BYTES);
        try (Checkpoint checkpoint = Checkpoint.open(folder)) {
            assertThat(checkpoint.tensors()).hasSize(11).doesNotContainKey("lm_head.weight");
        }
    }

    @Test
    void an_unknown_tensor_is_another_architecture() {
        smallModel();
        write("{" + tensor("model.layers.0.self_attn.q_norm.weight", "BF16", "[2]", 0, 4) + smallTensors(4) + "}", 4 + SMALL_BYTES);
        refused(UNSUPPORTED_MODEL, folder + " has 1 tensors that no LLaMA of its config.json has, the first of them "
                + "'model.layers.0.self_attn.q_norm.weight'; Inlay serves LLaMA 1, 2, 3, 3.1 and 3.2");
    }

    @Test
    void a_missing_tensor_is_named_with_the_shape_that_is_asked_for() {
        smallModel();
        write("{" + tensor("model.embed_tokens.weight", "BF16", "[1, 2]", 0, 4) + "}", 4);
        refused(CORRUPT_CHECKPOINT, folder + " has no tensor 'model.layers.0.self_attn.q_proj.weight', for which its config.json "
                + "asks in shape [2, 2]; fetch every file of the model");
    }

    @Test
    void a_tensor_of_another_shape_is_named_with_both() {
        smallModel();
        write("{" + tensor("model.embed_tokens.weight", "BF16", "[2, 2]", 0, 8) + "}", 8);
        refused(CORRUPT_CHECKPOINT, weights + " has tensor 'model.embed_tokens.weight' of shape [2, 2], but its config.json asks "
                + "for [1, 2]; fetch config.json and weights of the same model");
    }

    @ParameterizedTest
    @ValueSource(strings = {"F64", "I8", "F8_E4M3"})
    void weights_of_another_type_are_refused(String type) {
        smallModel();
        int bytes = type.equals("F64") ? 16 : 2;
        write("{" + tensor("model.embed_tokens.weight", type, "[1, 2]", 0, bytes) + "}", bytes);
        refused(UNSUPPORTED_MODEL, weights + " has tensor 'model.embed_tokens.weight' of type " + type
                + "; weights must be BF16, F16 or F32");
    }

    @Test
    void a_truncated_file_is_refused_wherever_it_ends() throws IOException {
        copy("llama2-like");
        byte[] whole = Files.readAllBytes(weights);
        int length = (int) ByteBuffer.wrap(whole).order(ByteOrder.LITTLE_ENDIAN).getLong();
        int[] ends = {0, 7, 8, 20, 8 + length - 1, 8 + length, whole.length / 2, whole.length - 1};
        for (int end : ends) {
            Files.write(weights, Arrays.copyOf(whole, end));
            AbstractThrowableAssert<?, ?> refusal = assertThatThrownBy(() -> Checkpoint.open(folder).close()).as("cut at " + end)
                    .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(CORRUPT_CHECKPOINT));
            if (end < 8) {
                refusal.hasMessage(weights + " is " + end + " bytes; a safetensors file has at least the 8 of its header's length; fetch or "
                        + "write the file again");
            } else if (end < 8 + length) {
                refusal.hasMessage(weights + " states a header of " + length + " bytes but is only " + end
                        + " bytes long; it is truncated; fetch or write the file again");
            } else {
                refusal.hasMessageStartingWith(weights + " has tensor '").hasMessageContaining("outside its " + (end - 8 - length)
                        + " bytes of data").hasMessageEndingWith("; fetch or write the file again");
            }
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            -1                                                      | 8 | states a header of 18446744073709551615 bytes; it must have 2 to 100000000
            9000000000000000000                                     | 8 | states a header of 9000000000000000000 bytes; it must have 2 to 100000000
            {"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[2,6]}} | 6 | has tensor 'b' overlapping another
            {"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]}} | 6 | has a gap of 2 bytes before tensor 'b'
            {"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}} | 6 | has 4 bytes that belong to no tensor at its end
            {"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}} | 6 | has tensor 'a' with data_offsets [0, 8] outside its 6 bytes of data
            {"a":{"dtype":"BF16","shape":[2],"data_offsets":[4,0]}} | 6 | has tensor 'a' with data_offsets [4, 0] outside its 6 bytes of data
            {"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,6]}} | 6 | has tensor 'a' of BF16[2], which takes 4 bytes, with data_offsets of 6
            {"a":{"dtype":"BF16","shape":[4294967296,4294967296],"data_offsets":[0,6]}} | 6 | has tensor 'a' with shape [4294967296, 4294967296], more bytes than there can be
            {"a":{"dtype":"BF16","shape":[-3],"data_offsets":[0,6]}} | 6 | has tensor 'a' with a shape entry '-3' that is not a whole number from 0 to 2^63 - 1
            {"a":{"dtype":"X9","shape":[3],"data_offsets":[0,6]}}   | 6 | has tensor 'a' of unknown dtype 'X9'
            {"a":{"dtype":"BF16","shape":[3]}}                      | 6 | has tensor 'a' without data_offsets
            {"a":1}                                                 | 6 | describes tensor 'a' by something other than a JSON object
            []                                                      | 6 | has a header that does not begin with '{'
            """)
    void a_header_that_breaks_a_rule_of_the_format_is_refused(String header, int data, String message) throws IOException {
        smallModel();
        if (header.startsWith("{") || header.startsWith("[")) {
            write(header, data);
        } else {
            Files.write(weights, ByteBuffer.allocate(8 + data).order(ByteOrder.LITTLE_ENDIAN).putLong(Long.parseLong(header)).array());
        }
        refused(CORRUPT_CHECKPOINT, weights + " " + message + "; fetch or write the file again");
    }

    @Test
    void a_name_that_comes_twice_in_a_header_is_refused() {
        smallModel();
        String entry = tensor("a", "BF16", "[1]", 0, 2);
        write("{" + entry + "," + entry + "}", 2);
        assertThatThrownBy(() -> Checkpoint.open(folder).close()).isInstanceOf(Problem.class)
                .hasMessageStartingWith(weights + " has a malformed header: Duplicate field 'a'");
    }

    @Test
    void a_folder_without_weights_says_what_they_must_be() throws IOException {
        smallModel();
        Files.writeString(folder.resolve("pytorch_model.bin"), "");
        refused(CORRUPT_CHECKPOINT, folder + " has neither model.safetensors nor model.safetensors.index.json; weights must be "
                + "safetensors (transformers writes them with model.save_pretrained)");
        assertThatThrownBy(() -> Checkpoint.open(folder.resolve("no"))).hasMessage(folder.resolve("no")
                + " is no folder; a model is a folder in Hugging Face layout");
    }

    @Test
    void an_index_must_name_files_that_are_there_and_its_own() throws IOException {
        copy("sharded-bf16");
        Path index = folder.resolve("model.safetensors.index.json");
        String text = Files.readString(index);
        Files.writeString(index, text.replace("model-00002-of-00004.safetensors", "../model-00002-of-00004.safetensors"));
        refused(CORRUPT_CHECKPOINT, index + " names the file '../model-00002-of-00004.safetensors', which is no file of its own "
                + "folder; fetch the file again from a source that you trust");
        Files.writeString(index, text.replace("model-00002-of-00004.safetensors", "/etc/passwd"));
        refused(CORRUPT_CHECKPOINT, index + " names the file '/etc/passwd', which is no file of its own folder; fetch the file "
                + "again from a source that you trust");
        Files.writeString(index, text);
        Files.delete(folder.resolve("model-00002-of-00004.safetensors"));
        refused(CORRUPT_CHECKPOINT, index + " names model-00002-of-00004.safetensors, which is missing; fetch every file of the "
                + "model");
        Files.writeString(index, "{\"weight_map\": {}}");
        refused(CORRUPT_CHECKPOINT, index + " has no weight_map; fetch the file again");
        Files.writeString(index, "{\"weight_map\": {\"a\": 5}}");
        refused(CORRUPT_CHECKPOINT, index + " has weight_map.a = 5; it must be a string");
        Files.writeString(index, "{");
        assertThatThrownBy(() -> Checkpoint.open(folder).close()).isInstanceOf(Problem.class)
                .hasMessageStartingWith(index + " is not JSON: ");
    }

    @Test
    void a_tensor_in_two_files_is_refused() throws IOException {
        copy("sharded-bf16");
        Files.copy(folder.resolve("model-00001-of-00004.safetensors"), folder.resolve("model-00003-of-00004.safetensors"),
                StandardCopyOption.REPLACE_EXISTING);
        assertThatThrownBy(() -> Checkpoint.open(folder).close()).isInstanceOf(Problem.class)
                .hasMessageStartingWith(folder.resolve("model-00003-of-00004.safetensors") + " has tensor '")
                .hasMessageEndingWith("', which " + folder.resolve("model-00001-of-00004.safetensors") + " has too; fetch the model again");
    }

    private void refused(Problem.Code code, String message) {
        assertThatThrownBy(() -> Checkpoint.open(folder).close())
                .isInstanceOfSatisfying(Problem.class, problem -> assertThat(problem.code()).isEqualTo(code)).hasMessage(message);
    }

    private void copy(String golden) throws IOException {
        try (Stream<Path> files = Files.list(Golden.of(golden).folder())) {
            for (Path file : files.toList()) {
                Files.copy(file, folder.resolve(file.getFileName()));
            }
        }
    }

    // ---- a model of one layer, hidden size 2, one token, tied: every tensor is small enough to write down ----

    private static final int SMALL_BYTES = 4 + 7 * 8 + 3 * 4;

    private void smallModel() {
        try {
            Files.writeString(folder.resolve("config.json"), """
                    {"model_type": "llama", "hidden_size": 2, "num_attention_heads": 1, "intermediate_size": 2, "num_hidden_layers": 1,
                     "vocab_size": 1, "tie_word_embeddings": true}""");
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    private static String tensor(String name, String dtype, String shape, int begin, int end) {
        return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[" + begin + "," + end + "]}";
    }

    /** Header entries of all the small model's tensors, their bytes beginning at an offset. */
    private static String smallTensors(int at) {
        StringBuilder header = new StringBuilder();
        int begin = at;
        String layer = "model.layers.0.";
        for (String name : List.of("model.embed_tokens", layer + "self_attn.q_proj", layer + "self_attn.k_proj", layer + "self_attn.v_proj",
                layer + "self_attn.o_proj", layer + "mlp.gate_proj", layer + "mlp.up_proj", layer + "mlp.down_proj",
                layer + "input_layernorm", layer + "post_attention_layernorm", "model.norm")) {
            String shape = name.endsWith("proj") ? "[2, 2]" : name.endsWith("norm") ? "[2]" : "[1, 2]";
            int end = begin + (name.endsWith("proj") ? 8 : 4);
            header.append(',').append(tensor(name + ".weight", "BF16", shape, begin, end));
            begin = end;
        }
        return header.toString();
    }

    private void write(String header, int bytes) {
        byte[] text = header.getBytes(StandardCharsets.UTF_8);
        try {
            ByteBuffer file = ByteBuffer.allocate(8 + text.length + bytes).order(ByteOrder.LITTLE_ENDIAN);
            Files.write(weights, file.putLong(text.length).put(text).array());
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
