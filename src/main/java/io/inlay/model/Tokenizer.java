package io.inlay.model;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/** Text to ids and back by tokenizer.json, through Hugging Face's own library. Thread-safe. */
public final class Tokenizer implements AutoCloseable {

    private final HuggingFaceTokenizer tokenizer;
    private final OptionalInt bos;
    private final Set<Integer> eos;
    private final int vocabularySize;
    private final Path folder;

    private Tokenizer(Path folder, HuggingFaceTokenizer tokenizer, OptionalInt bos, Set<Integer> eos, int vocabularySize) {
        this.folder = folder;
        this.tokenizer = tokenizer;
        this.bos = bos;
        this.eos = Set.copyOf(eos);
        this.vocabularySize = vocabularySize;
    }

    /**
     * Opens a model folder's tokenizer; ids of begin and end come from its configuration files.
     *
     * @throws Problem {@code CORRUPT_CHECKPOINT} naming the file
     */
    public static Tokenizer open(Path folder) {
        LlamaConfig config = LlamaConfig.parse(folder);
        Path file = folder.resolve("tokenizer.json");
        if (!Files.isRegularFile(file)) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is missing; Inlay reads tokenizers in tokenizer.json form "
                    + "(transformers writes it with tokenizer.save_pretrained)");
        }
        HuggingFaceTokenizer library;
        try (InputStream json = Files.newInputStream(file)) {
            library = HuggingFaceTokenizer.newInstance(json, Map.of("truncation", "false", "padding", "false"));
        } catch (IOException | RuntimeException failure) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is no tokenizer: " + failure.getMessage(), failure);
        }
        Set<Integer> eos = new LinkedHashSet<>(config.eos());
        OptionalInt bos = config.bos();
        JsonNode names = tokenizerConfig(folder);
        JsonNode added = addedTokens(file);
        OptionalInt eosToken = id(added, tokenText(names.path("eos_token")));
        eosToken.ifPresent(eos::add);
        if (bos.isEmpty()) {
            bos = id(added, tokenText(names.path("bos_token")));
        }
        return new Tokenizer(folder, library, bos, eos, config.vocabularySize());
    }

    /** tokenizer_config.json, or an empty node when there is none. */
    static JsonNode tokenizerConfig(Path folder) {
        Path file = folder.resolve("tokenizer_config.json");
        try {
            return Files.isRegularFile(file) ? new ObjectMapper().readTree(file.toFile()) : new ObjectMapper().createObjectNode();
        } catch (IOException malformed) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is not JSON: " + malformed.getMessage(), malformed);
        }
    }

    /** A token in tokenizer_config.json is a string, or an object with its content; null when absent. */
    static String tokenText(JsonNode token) {
        return token.isTextual() ? token.asText() : token.path("content").asText(null);
    }

    private static JsonNode addedTokens(Path file) {
        try {
            return new ObjectMapper().readTree(file.toFile()).path("added_tokens");
        } catch (IOException malformed) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, file + " is not JSON: " + malformed.getMessage(), malformed);
        }
    }

    private static OptionalInt id(JsonNode added, String content) {
        for (JsonNode token : added) {
            if (token.path("content").asText().equals(content)) {
                return OptionalInt.of(token.path("id").asInt());
            }
        }
        return OptionalInt.empty();
    }

    /** Ids of a text; {@code addSpecialTokens} puts in front (or behind) what the tokenizer's own post-processor says. */
    public int[] encode(String text, boolean addSpecialTokens) {
        long[] ids = tokenizer.encode(text, addSpecialTokens, false).getIds();
        int[] result = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            result[i] = Math.toIntExact(ids[i]);
        }
        return result;
    }

    /** The text of ids; special tokens are left out. */
    public String decode(int[] ids) {
        long[] wide = new long[ids.length];
        for (int i = 0; i < ids.length; i++) {
            wide[i] = ids[i];
        }
        return ids.length == 0 ? "" : tokenizer.decode(wide, true);
    }

    /** The text of one id as it stands, special tokens too; with the replacement character for bytes that are no whole character. */
    public String text(int id) {
        return tokenizer.decode(new long[] {id}, false);
    }

    /** The bytes that each token adds to a text. Reads the vocabulary anew; keep the result. */
    public TokenBytes bytes() {
        return TokenBytes.read(folder, this);
    }

    /** For text that grows id by id. */
    public TextStream stream() {
        return new TextStream(this);
    }

    public OptionalInt bos() {
        return bos;
    }

    /** Ids that end a text. */
    public Set<Integer> eos() {
        return eos;
    }

    /** Rows of the embedding; ids are below it. */
    public int vocabularySize() {
        return vocabularySize;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
