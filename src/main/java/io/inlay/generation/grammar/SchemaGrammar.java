package io.inlay.generation.grammar;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * JSON schemas (draft 2020-12, and what OpenAI's structured outputs take of it) as grammars. Members come in the schema's order. What a
 * schema says beyond what is enforced is refused by name, except for annotations; so what follows the grammar is valid.
 *
 * <p>Enforced: {@code type}, {@code enum}, {@code const}, {@code properties}, {@code required}, {@code additionalProperties},
 * {@code minProperties} and {@code maxProperties} of objects without {@code properties}, {@code items}, {@code prefixItems},
 * {@code minItems}, {@code maxItems}, {@code minLength} and {@code maxLength}, {@code pattern}, {@code format} (see {@link SchemaStrings}),
 * bounds of integers, {@code anyOf}, {@code oneOf} with branches that exclude each other, {@code allOf} of one, {@code $ref} within the
 * document, recursion included. Where {@code additionalProperties} is not said, an object with {@code properties} gets no others.
 */
public final class SchemaGrammar {

    private static final Set<String> ANNOTATIONS = Set.of("title", "description", "default", "examples", "example", "$schema", "$id", "id",
            "$comment", "$anchor", "deprecated", "readOnly", "writeOnly", "$defs", "definitions", "strict", "contentMediaType");
    private static final List<String> TYPES = List.of("object", "array", "string", "number", "integer", "boolean", "null");
    private static final int MOST_NAME = 500;

    private final String source;
    private final JsonNode document;
    /** What this document's rules are named by, beside other documents'. */
    private final String scope;
    private final Map<String, Expression> rules = new HashMap<>(Json.rules());

    private SchemaGrammar(String source, String scope, JsonNode document) {
        this.source = source;
        this.scope = scope;
        this.document = document;
    }

    /** Any JSON object. */
    public static Grammar anyObject(String source) {
        return new Grammar(source, Json.OBJECT, Json.rules());
    }

    /**
     * JSON that the schema allows.
     *
     * @param source the request's field that it came in, for messages
     */
    public static Grammar of(String source, JsonNode schema) {
        SchemaGrammar grammar = new SchemaGrammar(source, "", schema);
        Expression root = grammar.reference("#");
        return new Grammar(source, root, grammar.rules);
    }

    /** A text, JSON that the schema allows, a text. */
    public record Framed(String before, JsonNode schema, String after) {
    }

    /** One of several. */
    public static Grammar framed(String source, List<Framed> options) {
        Map<String, Expression> rules = new HashMap<>();
        List<Expression> choices = new ArrayList<>();
        for (Framed each : options) {
            SchemaGrammar grammar = new SchemaGrammar(source, choices.size() + " ", each.schema());
            choices.add(Expression.sequence(Expression.text(each.before()), grammar.reference("#"), Expression.text(each.after())));
            rules.putAll(grammar.rules);
        }
        return new Grammar(source, new Expression.Choice(choices), rules);
    }

    /** One of these texts. */
    public static Grammar texts(String source, List<String> texts) {
        return new Grammar(source, new Expression.Choice(texts.stream().map(Expression::text).toList()), Map.of());
    }

    private Expression reference(String pointer) {
        if (!pointer.startsWith("#") || pointer.length() > 1 && pointer.charAt(1) != '/') {
            throw refused(pointer, "$ref '" + pointer + "' is not supported; it must be a path within the schema, such as #/$defs/name");
        }
        JsonNode target = document.at(URLDecoder.decode(pointer.substring(1).replace("+", "%2B"), StandardCharsets.UTF_8));
        if (target.isMissingNode()) {
            throw refused(pointer, "$ref '" + pointer + "' points to nothing");
        }
        if (!rules.containsKey(scope + pointer)) {
            rules.put(scope + pointer, Expression.EMPTY); // it is known before it is made, for recursion
            rules.put(scope + pointer, schema(target, pointer));
        }
        return Expression.rule(scope + pointer);
    }

    private Expression schema(JsonNode schema, String at) {
        if (schema.isBoolean()) {
            return schema.asBoolean() ? Json.VALUE : new Expression.Choice(List.of());
        }
        if (!schema.isObject()) {
            throw refused(at, "a schema must be an object, or true");
        }
        if (schema.has("$ref")) {
            requireOnly(schema, at, "$ref");
            return reference(schema.path("$ref").asText());
        }
        if (schema.has("const")) {
            return values(List.of(schema.get("const")), schema, at, "const");
        }
        if (schema.has("enum")) {
            List<JsonNode> values = new ArrayList<>();
            schema.get("enum").forEach(values::add);
            return values(values, schema, at, "enum");
        }
        for (String combination : List.of("anyOf", "oneOf", "allOf")) {
            if (schema.has(combination)) {
                requireOnly(schema, at, combination, "type");
                return branches(combination, schema, at);
            }
        }
        List<String> types = types(schema, at);
        requireKnown(schema, types, at);
        List<Expression> options = types.stream().map(type -> ofType(type, schema, at)).toList();
        return options.size() == 1 ? options.getFirst() : new Expression.Choice(options);
    }

    private Expression values(List<JsonNode> values, JsonNode schema, String at, String keyword) {
        requireOnly(schema, at, keyword, "type");
        List<String> types = schema.has("type") ? types(schema, at) : TYPES;
        List<Expression> options = values.stream().filter(value -> types.stream().anyMatch(type -> isOf(type, value))).map(Json::literal)
                .toList();
        if (options.isEmpty()) {
            throw refused(at, keyword + " has no value of its type");
        }
        return new Expression.Choice(options);
    }

    static boolean isOf(String type, JsonNode value) {
        return switch (type) {
            case "object" -> value.isObject();
            case "array" -> value.isArray();
            case "string" -> value.isTextual();
            case "number" -> value.isNumber();
            case "integer" -> value.isIntegralNumber() || value.isNumber() && value.asDouble() == Math.rint(value.asDouble());
            case "boolean" -> value.isBoolean();
            default -> value.isNull();
        };
    }

    private Expression branches(String combination, JsonNode schema, String at) {
        JsonNode branches = schema.get(combination);
        if (!branches.isArray() || branches.isEmpty()) {
            throw refused(at, combination + " must be a list of schemas");
        }
        if (combination.equals("allOf") && branches.size() > 1) {
            throw refused(at, "allOf of several schemas is not supported; merge them into one");
        }
        if (combination.equals("oneOf")) {
            new Disjoint(document, source).require(branches, at);
        }
        List<Expression> options = new ArrayList<>();
        for (int i = 0; i < branches.size(); i++) {
            JsonNode branch = branches.get(i);
            String where = at + "/" + combination + "/" + i;
            if (schema.has("type")) {
                if (branch.has("type") && !branch.get("type").equals(schema.get("type")) || branch.has("$ref")) {
                    throw refused(at, "type beside " + combination
                            + " whose branches have types of their own is not supported; leave it out");
                }
                branch = branch.isObject() ? ((ObjectNode) branch.deepCopy()).set("type", schema.get("type"))
                        : branch;
            }
            options.add(schema(branch, where));
        }
        return new Expression.Choice(options);
    }

    private List<String> types(JsonNode schema, String at) {
        JsonNode type = schema.path("type");
        List<String> types = new ArrayList<>();
        if (type.isTextual()) {
            types.add(type.asText());
        } else if (type.isArray() && !type.isEmpty()) {
            type.forEach(each -> types.add(each.asText()));
        } else if (type.isMissingNode()) {
            return implied(schema);
        }
        if (types.isEmpty() || !TYPES.containsAll(types)) {
            throw refused(at, "type is " + type + "; it must be of " + TYPES);
        }
        return types;
    }

    /** A schema without a type says something of values of one type, and lets every other value pass: all are possible. */
    private static List<String> implied(JsonNode schema) {
        if (schema.has("properties") || schema.has("required")) {
            return List.of("object");
        }
        if (schema.has("items") || schema.has("prefixItems")) {
            return List.of("array");
        }
        if (schema.has("pattern") || schema.has("minLength") || schema.has("maxLength")) {
            return List.of("string");
        }
        return List.of("object", "array", "string", "number", "boolean", "null");
    }

    private Expression ofType(String type, JsonNode schema, String at) {
        return switch (type) {
            case "object" -> object(schema, at);
            case "array" -> array(schema, at);
            case "string" -> new SchemaStrings(source).of(schema, at);
            case "number" -> {
                for (String bound : SchemaNumbers.BOUNDS) {
                    if (schema.has(bound)) {
                        throw refused(at, bound + " of a number is not supported; of an integer it is");
                    }
                }
                yield Json.NUMBER;
            }
            case "integer" -> SchemaNumbers.integer(schema, message -> refused(at, message));
            case "boolean" -> Json.BOOLEAN;
            default -> Json.NULL;
        };
    }

    // ---- objects ----

    private Expression object(JsonNode schema, String at) {
        JsonNode properties = schema.path("properties");
        List<String> names = new ArrayList<>();
        properties.fieldNames().forEachRemaining(names::add);
        Set<String> required = required(schema);
        JsonNode additional = schema.path("additionalProperties");
        Expression others = additional.isMissingNode() ? names.isEmpty() && !schema.has("properties") ? Json.VALUE : null
                : additional.isBoolean() && !additional.asBoolean() ? null : schema(additional, at + "/additionalProperties");
        for (String name : required) {
            if (!names.contains(name)) {
                if (others == null) {
                    throw refused(at, "required names '" + name + "', which is not of its properties");
                }
                names.add(name);
            }
        }
        for (String name : names) {
            if (name.length() > MOST_NAME) {
                throw refused(at, "a property's name has " + name.length() + " characters; at most " + MOST_NAME + " are taken");
            }
        }
        int[] counts = SchemaNumbers.counts(schema, "minProperties", "maxProperties", why -> refused(at, why));
        if (names.isEmpty()) {
            return Json.members(others == null ? Expression.EMPTY : list(Json.member(Json.STRING, others), counts));
        }
        if (schema.has("minProperties") || schema.has("maxProperties")) {
            throw refused(at, "minProperties and maxProperties beside properties are not supported; use required");
        }
        Map<String, Expression> members = new LinkedHashMap<>();
        for (String name : names) {
            Expression value = properties.has(name) ? schema(properties.get(name), at + "/properties/" + name) : others;
            members.put(name, Json.member(Json.text(name), value));
        }
        return Json.members(inOrder(at, new ArrayList<>(members.entrySet()), required,
                others == null ? null : Json.member(Json.otherThan(names), others)));
    }

    private static Set<String> required(JsonNode schema) {
        List<String> names = new ArrayList<>();
        schema.path("required").forEach(name -> names.add(name.asText()));
        return new LinkedHashSet<>(names);
    }

    /** Members in their order, each from the {@code index}-th on as a rule, since several ways lead to it. */
    private Expression inOrder(String at, List<Map.Entry<String, Expression>> members, Set<String> required, Expression others) {
        Expression more = others == null ? Expression.EMPTY : Expression.any(Expression.sequence(Json.comma(), others));
        rules.put(rest(at, members.size(), true), others == null ? more : Expression.optional(Expression.sequence(others, more)));
        rules.put(rest(at, members.size(), false), more);
        for (int index = members.size() - 1; index >= 0; index--) {
            boolean needed = required.contains(members.get(index).getKey());
            Expression behind = Expression.rule(rest(at, index + 1, false));
            String member = scope + at + " member " + index;
            rules.put(member, members.get(index).getValue());
            for (boolean first : new boolean[] {true, false}) {
                Expression with = Expression.sequence(first ? Expression.EMPTY : Json.comma(), Expression.rule(member), behind);
                rules.put(rest(at, index, first), needed ? with : Expression.choice(with, Expression.rule(rest(at, index + 1, first))));
            }
        }
        return Expression.rule(rest(at, 0, true));
    }

    private String rest(String at, int index, boolean first) {
        return scope + at + " members " + index + (first ? " first" : "");
    }

    // ---- arrays ----

    private Expression array(JsonNode schema, String at) {
        if (schema.path("uniqueItems").asBoolean()) {
            throw refused(at, "uniqueItems is not supported; leave it out, or list the possible values by enum");
        }
        int[] counts = SchemaNumbers.counts(schema, "minItems", "maxItems", why -> refused(at, why));
        JsonNode prefix = schema.path("prefixItems");
        JsonNode rest = schema.path("items");
        Expression item = rest.isMissingNode() ? prefix.isMissingNode() ? Json.VALUE : null
                : rest.isBoolean() && !rest.asBoolean() ? null : schema(rest, at + "/items");
        if (prefix.isMissingNode()) {
            return Json.elements(item == null ? Expression.EMPTY : list(item, counts));
        }
        List<Expression> items = new ArrayList<>();
        for (int i = 0; i < prefix.size(); i++) {
            Expression one = schema(prefix.get(i), at + "/prefixItems/" + i);
            items.add(i == 0 ? one : Expression.sequence(Json.comma(), one));
        }
        if (counts[0] < items.size() && schema.has("minItems") || counts[1] >= 0 && counts[1] < items.size() || items.isEmpty()) {
            throw refused(at, "prefixItems of " + items.size() + " items with minItems or maxItems below that is not supported");
        }
        if (item != null) {
            items.add(new Expression.Repeat(Expression.sequence(Json.comma(), item), Math.max(0, counts[0] - items.size()),
                    counts[1] < 0 ? -1 : counts[1] - items.size()));
        } else if (counts[0] > items.size()) {
            throw refused(at, "minItems is more than prefixItems has, and there are no items beyond");
        }
        return Json.elements(new Expression.Sequence(items));
    }

    private static Expression list(Expression item, int[] counts) {
        if (counts[1] == 0) {
            return Expression.EMPTY;
        }
        Expression some = Json.list(item, Math.max(1, counts[0]), counts[1]);
        return counts[0] == 0 ? Expression.optional(some) : some;
    }

    // ---- refusals ----

    private void requireOnly(JsonNode schema, String at, String... keywords) {
        schema.fieldNames().forEachRemaining(name -> {
            if (!ANNOTATIONS.contains(name) && !Arrays.asList(keywords).contains(name)) {
                throw refused(at, name + " beside " + keywords[0] + " is not supported");
            }
        });
    }

    private void requireKnown(JsonNode schema, List<String> types, String at) {
        schema.fieldNames().forEachRemaining(name -> {
            boolean known = ANNOTATIONS.contains(name) || name.equals("type")
                    || types.stream().anyMatch(type -> keywords(type).contains(name));
            // What speaks of another type than those that are possible says nothing.
            boolean other = TYPES.stream().anyMatch(type -> keywords(type).contains(name));
            if (!known && !other) {
                throw refused(at, name + " is not supported");
            }
        });
    }

    private static Set<String> keywords(String type) {
        return switch (type) {
            case "object" -> Set.of("properties", "required", "additionalProperties", "minProperties", "maxProperties");
            case "array" -> Set.of("items", "prefixItems", "minItems", "maxItems", "uniqueItems");
            case "string" -> Set.of("minLength", "maxLength", "pattern", "format");
            case "number", "integer" -> Set.of("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format");
            default -> Set.of();
        };
    }

    private RuntimeException refused(String at, String what) {
        return Grammar.refused(source + "'s schema at " + at + ": " + what);
    }
}
