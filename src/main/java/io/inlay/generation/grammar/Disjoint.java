package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Whether a {@code oneOf}'s branches exclude each other, which an answer of one branch needs to be valid: by their types, by their
 * {@code const} or {@code enum}, or as objects by those of a member that both require.
 */
record Disjoint(JsonNode document, String source) {

    void require(JsonNode branches, String at) {
        List<JsonNode> all = new ArrayList<>();
        branches.forEach(branch -> all.add(target(branch, 0)));
        for (int i = 0; i < all.size(); i++) {
            for (int j = 0; j < i; j++) {
                if (!apart(all.get(j), all.get(i))) {
                    throw Grammar.refused(source + "'s schema at " + at
                            + ": oneOf is supported where no value can be of two branches, and of "
                            + j + " and " + i + " one could (by type, const, enum, or those of a required property); use anyOf");
                }
            }
        }
    }

    private JsonNode target(JsonNode schema, int followed) {
        String reference = schema.path("$ref").asText();
        return reference.startsWith("#") && followed < 10 ? target(document.at(reference.substring(1)), followed + 1) : schema;
    }

    private boolean apart(JsonNode a, JsonNode b) {
        Set<JsonNode> values = values(a);
        Set<JsonNode> others = values(b);
        if (values != null && others != null) {
            return values.stream().noneMatch(others::contains);
        }
        Set<String> types = types(a);
        Set<String> otherTypes = types(b);
        if (types != null && otherTypes != null && types.stream().noneMatch(type -> otherTypes.contains(type)
                || type.equals("number") && otherTypes.contains("integer") || type.equals("integer") && otherTypes.contains("number"))) {
            return true;
        }
        if (types == null || otherTypes == null || !types.equals(Set.of("object")) || !otherTypes.equals(types)) {
            return false;
        }
        for (JsonNode name : a.path("required")) {
            boolean both = false;
            for (JsonNode other : b.path("required")) {
                both |= other.equals(name);
            }
            if (both) {
                Set<JsonNode> own = values(target(a.path("properties").path(name.asText()), 0));
                Set<JsonNode> their = values(target(b.path("properties").path(name.asText()), 0));
                if (own != null && their != null && own.stream().noneMatch(their::contains)) {
                    return true;
                }
            }
        }
        return false;
    }

    private static Set<JsonNode> values(JsonNode schema) {
        if (schema.has("const")) {
            return Set.of(schema.get("const"));
        }
        if (!schema.has("enum")) {
            return null;
        }
        Set<JsonNode> values = new HashSet<>();
        schema.get("enum").forEach(values::add);
        return values;
    }

    private static Set<String> types(JsonNode schema) {
        if (!schema.has("type")) {
            return schema.has("properties") ? Set.of("object") : null;
        }
        Set<String> types = new HashSet<>();
        if (schema.get("type").isTextual()) {
            types.add(schema.get("type").asText());
        }
        schema.get("type").forEach(type -> types.add(type.asText()));
        return types;
    }
}
