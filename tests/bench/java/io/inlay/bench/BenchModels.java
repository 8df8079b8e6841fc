package io.inlay.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.model.RandomWeights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Checkpoints with random weights that benchmarks share, made once, outside the checkout. */
final class BenchModels {

    private BenchModels() {
    }

    static Path cache() {
        String xdg = System.getenv("XDG_CACHE_HOME");
        Path root = xdg == null || xdg.isBlank() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(xdg);
        return root.resolve("inlay").resolve("bench");
    }

    /** 107 million parameters, LLaMA 3's form: grouped heads, tied embeddings. */
    static Path llama107m() throws IOException {
        return make("llama-107m", shape(768, 2304, 12, 12, 4, 64, 32000));
    }

    /** Llama-3.2-1B's dimensions: 1.24 billion parameters, 2.5 GB. */
    static Path llama1b() throws IOException {
        Map<String, Object> config = shape(2048, 8192, 16, 32, 8, 64, 128256);
        config.put("rope_theta", 500000.0);
        config.put("rope_scaling", Map.of("rope_type", "llama3", "factor", 32.0, "low_freq_factor", 1.0, "high_freq_factor", 4.0,
                "original_max_position_embeddings", 8192));
        return make("llama-1b", config);
    }

    /** Llama-3-8B's dimensions: 8.03 billion parameters, 16 GB. */
    static Path llama8b() throws IOException {
        Map<String, Object> config = untied(shape(4096, 14336, 32, 32, 8, 128, 128256));
        config.put("rope_theta", 500000.0);
        return make("llama-8b", config, RepeatedWeights::write, 0.02);
    }

    /** LLaMA-7B's dimensions: 6.74 billion parameters, 13.5 GB. */
    static Path llama7b() throws IOException {
        return make("llama-7b", untied(shape(4096, 11008, 32, 32, 32, 128, 32000)), RepeatedWeights::write, 0.02);
    }

    /** The smallest whose q, k and v have blocks of edge 256: 4.8 million parameters. */
    static Path llama5m() throws IOException {
        return make("llama-5m", untied(shape(512, 1024, 2, 8, 4, 64, 2048)), RepeatedWeights::write, 0.02);
    }

    /** 3.7 million parameters, wide enough spread for attention that prefers some positions, and for tokens that are clearly the likeliest. */
    static Path small() throws IOException {
        Map<String, Object> config = shape(256, 768, 4, 4, 2, 64, 2048);
        config.put("rope_theta", 500000.0);
        config.put("rope_scaling", Map.of("rope_type", "llama3", "factor", 8.0, "low_freq_factor", 1.0, "high_freq_factor", 4.0,
                "original_max_position_embeddings", 2048));
        return make("small", config, RepeatedWeights::write, 0.08);
    }

    private static Map<String, Object> untied(Map<String, Object> config) {
        config.put("tie_word_embeddings", false);
        return config;
    }

    /** Writes weights beside a configuration. */
    private interface Weights {
        void write(Path folder, double spread, long seed);
    }

    private static Map<String, Object> shape(int hidden, int feedForward, int layers, int heads, int keyValueHeads, int headDim,
            int vocabulary) {
        Map<String, Object> config = new LinkedHashMap<>();
        config.put("architectures", new String[] {"LlamaForCausalLM"});
        config.put("model_type", "llama");
        config.put("hidden_act", "silu");
        config.put("hidden_size", hidden);
        config.put("intermediate_size", feedForward);
        config.put("num_hidden_layers", layers);
        config.put("num_attention_heads", heads);
        config.put("num_key_value_heads", keyValueHeads);
        config.put("head_dim", headDim);
        config.put("vocab_size", vocabulary);
        config.put("max_position_embeddings", 4096);
        config.put("rms_norm_eps", 1e-5);
        config.put("rope_theta", 10000.0);
        config.put("tie_word_embeddings", true);
        config.put("bos_token_id", 0);
        config.put("eos_token_id", 1);
        config.put("torch_dtype", "bfloat16");
        return config;
    }

    private static Path make(String name, Map<String, Object> config) throws IOException {
        return make(name, config, (folder, _, seed) -> RandomWeights.initialise(folder, seed), 0);
    }

    /** A folder is complete once it has its weights, which come last and by a rename. */
    private static Path make(String name, Map<String, Object> config, Weights weights, double spread) throws IOException {
        Path folder = cache().resolve(name);
        if (Files.isRegularFile(folder.resolve("model.safetensors"))) {
            return folder;
        }
        System.err.println("making the checkpoint " + folder + " (random weights, once) ...");
        Path fresh = cache().resolve(name + ".making");
        Files.createDirectories(fresh);
        new ObjectMapper().writerWithDefaultPrettyPrinter().writeValue(fresh.resolve("config.json").toFile(), config);
        for (String file : new String[] {"tokenizer.json", "tokenizer_config.json"}) {
            Path source = Path.of("model-store/base/inlay-tiny").resolve(file);
            Files.write(fresh.resolve(file), Files.readAllBytes(source));
        }
        weights.write(fresh, spread, 1);
        Files.move(fresh, folder);
        return folder;
    }
}
