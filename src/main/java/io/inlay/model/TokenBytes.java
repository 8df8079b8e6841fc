package io.inlay.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The bytes that each token adds to a text, read from tokenizer.json: of byte-level vocabularies by GPT-2's table of bytes as characters,
 * of others as the text of the token, with {@code ▁} for a space and {@code <0x0A>} for a byte.
 *
 * @param bytes by id; null for special tokens and ids without a token, which add nothing
 * @param dropsFirstSpace whether the decoder leaves out a space at the very beginning of a text
 */
public record TokenBytes(byte[][] bytes, boolean dropsFirstSpace) {

    private static final Pattern BYTE = Pattern.compile("<0x([0-9A-Fa-f]{2})>");

    /**
     * @param folder of the model
     * @throws Problem {@code CORRUPT_CHECKPOINT} for what is no such file
     */
    static TokenBytes read(Path folder, Tokenizer tokenizer) {
        JsonNode root;
        try {
            root = new ObjectMapper().readTree(folder.resolve("tokenizer.json").toFile());
        } catch (IOException failure) {
            throw new Problem(Problem.Code.CORRUPT_CHECKPOINT, folder.resolve("tokenizer.json") + " is not JSON: " + failure.getMessage(),
                    failure);
        }
        boolean byteLevel = mentions(root.path("decoder"), "ByteLevel") || mentions(root.path("pre_tokenizer"), "ByteLevel");
        byte[][] bytes = new byte[tokenizer.vocabularySize()][];
        JsonNode vocabulary = root.path("model").path("vocab");
        Map<Character, Integer> table = byteLevel ? byteTable() : null;
        if (vocabulary.isArray()) { // Unigram: pairs of text and score
            for (int id = 0; id < vocabulary.size(); id++) {
                put(bytes, id, vocabulary.get(id).path(0).asText(), table);
            }
        } else {
            vocabulary.properties().forEach(token -> put(bytes, token.getValue().asInt(), token.getKey(), table));
        }
        Set<Integer> special = new HashSet<>(tokenizer.eos());
        tokenizer.bos().ifPresent(special::add);
        for (JsonNode added : root.path("added_tokens")) {
            int id = added.path("id").asInt();
            if (added.path("special").asBoolean()) {
                special.add(id);
            } else if (id < bytes.length) {
                bytes[id] = added.path("content").asText().getBytes(StandardCharsets.UTF_8);
            }
        }
        special.stream().filter(id -> id < bytes.length).forEach(id -> bytes[id] = null);
        return new TokenBytes(bytes, dropsFirstSpace(bytes, tokenizer));
    }

    private static boolean mentions(JsonNode node, String type) {
        if (node.path("type").asText().equals(type)) {
            return true;
        }
        for (JsonNode child : node) {
            if (child.isContainerNode() && mentions(child, type)) {
                return true;
            }
        }
        return false;
    }

    private static void put(byte[][] bytes, int id, String token, Map<Character, Integer> table) {
        if (id >= bytes.length) {
            return; // A tokenizer may have more than the model.
        }
        if (table == null) {
            Matcher single = BYTE.matcher(token);
            bytes[id] = single.matches() ? new byte[] {(byte) Integer.parseInt(single.group(1), 16)}
                    : token.replace('\u2581', ' ').getBytes(StandardCharsets.UTF_8);
            return;
        }
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (char each : token.toCharArray()) {
            Integer value = table.get(each);
            if (value == null) {
                all.writeBytes(String.valueOf(each).getBytes(StandardCharsets.UTF_8));
            } else {
                all.write(value);
            }
        }
        bytes[id] = all.toByteArray();
    }

    /** GPT-2's {@code bytes_to_unicode}: bytes that print stand for themselves, the others for characters from 256 on, in order. */
    private static Map<Character, Integer> byteTable() {
        Map<Character, Integer> table = new HashMap<>();
        int other = 256;
        for (int value = 0; value < 256; value++) {
            boolean prints = value >= '!' && value <= '~' || value >= 0xA1 && value <= 0xAC || value >= 0xAE;
            table.put((char) (prints ? value : other++), value);
        }
        return table;
    }

    /** Asked of the decoder itself, by a token with a space in front. */
    private static boolean dropsFirstSpace(byte[][] bytes, Tokenizer tokenizer) {
        for (int id = 0; id < bytes.length; id++) {
            if (bytes[id] != null && bytes[id].length > 1 && bytes[id][0] == ' ' && bytes[id][1] > ' ') {
                return !tokenizer.decode(new int[] {id}).startsWith(" ");
            }
        }
        return false;
    }
}
