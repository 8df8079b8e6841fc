package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaConfigTest {

    private static final String SMALL = """
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2,
            "vocab_size": 100""";

    @TempDir
    Path folder;

    @Test
    void llama_1_and_2_have_a_key_head_per_query_head_and_no_scaling() {
        LlamaConfig config = parse(SMALL + """
                , "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16\"""");
        assertThat(config).isEqualTo(new LlamaConfig(100, 64, 128, 2, 4, 4, 16, 1e-5, 2048, 10_000, new RopeScaling.None(), false,
                OptionalInt.of(1), Set.of(2), DType.FP16));
        assertThat(config.parameterCount()).isEqualTo(2 * 100 * 64 + 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64));
    }

    @Test
    void transformers_4_writes_the_scaling_of_llama_3_1_into_rope_scaling() {
        LlamaConfig config = parse(SMALL + """
                , "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 131072, "rope_theta": 500000.0,
                "tie_word_embeddings": true, "torch_dtype": "bfloat16", "bos_token_id": 90, "eos_token_id": [91, 92],
                "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 8192, "rope_type": "llama3"}""");
        assertThat(config).isEqualTo(new LlamaConfig(100, 64, 128, 2, 4, 2, 32, 1e-6, 131072, 500_000,
                new RopeScaling.Llama3(32, 1, 4, 8192), true, OptionalInt.of(90), Set.of(91, 92), DType.BF16));
        assertThat(config.parameterCount()).isEqualTo(100 * 64 + 64 + 2 * (2 * 128 * 64 + 2 * 64 * 64 + 3 * 64 * 128 + 2 * 64));
    }

    @Test
    void transformers_5_writes_all_of_rope_into_rope_parameters() {
        LlamaConfig config = parse(SMALL + """
                , "dtype": "float32", "max_position_embeddings": 512, "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0,
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}""");
        assertThat(config.ropeTheta()).isEqualTo(500_000);
        assertThat(config.ropeScaling()).as("without original positions, those of the model")
                .isEqualTo(new RopeScaling.Llama3(8, 1, 4, 512));
        assertThat(config.dtype()).isEqualTo(DType.FP32);
    }

    @Test
    void linear_scaling_is_known_by_its_old_name_too() {
        assertThat(parse(SMALL + ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}").ropeScaling())
                .isEqualTo(new RopeScaling.Linear(2));
        assertThat(parse(SMALL + ", \"rope_scaling\": null").ropeScaling()).isEqualTo(new RopeScaling.None());
    }

    @Test
    void the_generation_configuration_adds_ids_that_end_a_text() throws IOException {
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": [4, 5], \"bos_token_id\": 7}");
        LlamaConfig config = parse(SMALL + ", \"eos_token_id\": 2, \"bos_token_id\": null");
        assertThat(config.eos()).containsExactlyInAnyOrder(2, 4, 5);
        assertThat(config.bos()).hasValue(7);
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama2-like", "llama31-like", "sharded-bf16", "fp16"})
    void what_transformers_saves_is_read(String name) {
        LlamaConfig config = LlamaConfig.parse(Golden.of(name).folder());
        assertThat(config.hiddenSize()).isEqualTo(64);
        assertThat(config.vocabularySize()).isEqualTo(512);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            "model_type": "mistral"              | has model_type = "mistral"; Inlay serves model_type "llama" with architectures ["LlamaForCausalLM"] (LLaMA 1, 2, 3, 3.1, 3.2)
            "architectures": ["LlamaForSequenceClassification"] | has architectures = ["LlamaForSequenceClassification"]; Inlay serves model_type "llama" with architectures ["LlamaForCausalLM"] (LLaMA 1, 2, 3, 3.1, 3.2)
            "attention_bias": true               | has attention_bias = true; Inlay serves LLaMA, whose linears have no bias
            "mlp_bias": true                     | has mlp_bias = true; Inlay serves LLaMA, whose linears have no bias
            "hidden_act": "gelu"                 | has hidden_act = "gelu"; Inlay serves LLaMA, whose activation is silu
            "quantization_config": {"bits": 4}   | has quantization_config = {"bits":4}; Inlay needs the bf16, fp16 or fp32 weights
            "rope_scaling": {"type": "yarn"}     | has rope_scaling.type = "yarn"; Inlay knows default, linear and llama3
            "rope_parameters": {"rope_type": "dynamic", "factor": 2} | has rope_parameters.rope_type = "dynamic"; Inlay knows default, linear and llama3
            "rope_parameters": {"partial_rotary_factor": 0.5} | has rope_parameters.partial_rotary_factor = 0.5; LLaMA rotates whole heads
            "num_key_value_heads": 3             | has num_key_value_heads = 3; num_attention_heads, 4, must be a multiple of it
            "head_dim": 15                       | has head_dim = 15; rotary positions need an even one
            "hidden_size": 66                    | has hidden_size = 66; it must be an even multiple of num_attention_heads, 4, where there is no head_dim
            "hidden_size": 2                     | has hidden_size = 2; it must be an even multiple of num_attention_heads, 4, where there is no head_dim
            "torch_dtype": "float64"             | has torch_dtype = "float64"; weights must be bfloat16, float16 or float32
            """)
    void another_architecture_is_refused_by_file_and_field(String field, String message) {
        assertThatThrownBy(() -> parse(SMALL + ", " + field)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNSUPPORTED_MODEL))
                .hasMessage(folder.resolve("config.json") + " " + message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            "vocab_size": null                   | has no vocab_size; fetch the file again
            "hidden_size": 0                     | has hidden_size = 0; it must be a whole number from 1 to 2147483647
            "num_hidden_layers": 2.5             | has num_hidden_layers = 2.5; it must be a whole number from 1 to 2147483647
            "num_hidden_layers": 3000000000      | has num_hidden_layers = 3000000000; it must be a whole number from 1 to 2147483647
            "intermediate_size": "128"           | has intermediate_size = "128"; it must be a whole number from 1 to 2147483647
            "rms_norm_eps": -1                   | has rms_norm_eps = -1; it must be a positive number
            "tie_word_embeddings": "yes"         | has tie_word_embeddings = "yes"; it must be true or false
            "eos_token_id": ["</s>"]             | has eos_token_id = ["</s>"]; it must be a token id or a list of token ids
            "bos_token_id": -1                   | has bos_token_id = -1; it must be a token id or a list of token ids
            "rope_scaling": "llama3"             | has rope_scaling = "llama3"; it must be an object
            "rope_scaling": {"type": "linear"}   | has no rope_scaling.factor; fetch the file again
            "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4} | has rope_scaling.high_freq_factor = 4; it must be greater than low_freq_factor, 4.0
            "hidden_act": 7                      | has hidden_act = 7; it must be a string
            """)
    void a_field_that_is_missing_or_wrong_is_refused_by_name(String field, String message) {
        assertThatThrownBy(() -> parse(SMALL + ", " + field)).isInstanceOfSatisfying(Problem.class,
                problem -> assertThat(problem.code()).isEqualTo(Problem.Code.CORRUPT_CHECKPOINT))
                .hasMessage(folder.resolve("config.json") + " " + message);
    }

    @Test
    void a_file_that_is_missing_or_no_json_is_refused() throws IOException {
        Path file = folder.resolve("config.json");
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).hasMessage(file + " is missing; a model folder is in Hugging Face layout, with "
                + "config.json, tokenizer.json and model.safetensors");
        Files.writeString(file, "version https://git-lfs.github.com/spec/v1");
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).isInstanceOf(Problem.class).hasMessageStartingWith(file
                + " is not JSON: Unrecognized token 'version'").hasMessageEndingWith("; fetch the file again");
        Files.writeString(file, "[]");
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).hasMessage(file + " is not a JSON object; fetch the file again");
        Files.writeString(file, "");
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).hasMessage(file + " is not a JSON object; fetch the file again");
        Files.writeString(file, "{" + SMALL);
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).isInstanceOf(Problem.class).hasMessageStartingWith(file + " is not JSON: ");
        Files.writeString(file, "{" + SMALL + "} {}");
        assertThatThrownBy(() -> LlamaConfig.parse(folder)).isInstanceOf(Problem.class).hasMessageStartingWith(file + " is not JSON: ");
    }

    private LlamaConfig parse(String fields) {
        try {
            Files.writeString(folder.resolve("config.json"), "{" + fields + "}");
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
        return LlamaConfig.parse(folder);
    }
}
