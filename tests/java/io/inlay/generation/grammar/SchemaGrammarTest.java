package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertTimeout;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SchemaValidatorsConfig;
import com.networknt.schema.SpecVersion;
import io.inlay.Problem;
import io.inlay.model.Tokenizer;
import java.io.IOException;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Answers drawn without sense against a schema validator that we did not write. */
class SchemaGrammarTest {

    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private static JsonNode json(String text) throws IOException {
        return JSON.readTree(text);
    }

    private static JsonSchema validator(String schema) throws IOException {
        return JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(json(schema),
                SchemaValidatorsConfig.builder().formatAssertionsEnabled(true).build());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{}",
        "true",
        "{'type': 'object', 'properties': {'name': {'type': 'string'}, 'age': {'type': 'integer'}}, 'required': ['name', 'age']}",
        "{'type': 'object', 'properties': {'a': {'type': 'null'}, 'b': {'type': 'boolean'}, 'c': {'type': 'number'}, 'd': {'const': 1}}}",
        "{'type': 'object', 'properties': {'a': {'type': 'integer'}, 'ab': {'const': 'x'}}, 'required': ['ab', 'z'], "
                + "'additionalProperties': {'type': 'boolean'}}",
        "{'type': 'object', 'additionalProperties': {'type': 'integer'}, 'minProperties': 1, 'maxProperties': 3}",
        "{'type': 'object', 'properties': {}, 'additionalProperties': false}",
        "{'type': 'array', 'items': {'type': 'string', 'minLength': 2, 'maxLength': 5}, 'minItems': 2, 'maxItems': 4}",
        "{'type': 'array', 'maxItems': 0}",
        "{'type': 'array', 'prefixItems': [{'type': 'integer'}, {'enum': ['a', 'b']}], 'items': {'type': 'boolean'}, 'minItems': 2}",
        "{'type': 'array', 'prefixItems': [{'type': 'null'}], 'items': false, 'minItems': 1}",
        "{'enum': [1, 'two', null, [3, {'four': 5.5}], true, 'q\\\"\\\\\\n']}",
        "{'type': 'string', 'enum': ['red', 7, 'green']}",
        "{'type': ['string', 'null', 'integer'], 'maxLength': 4, 'minimum': -3, 'maximum': 12}",
        "{'type': 'integer', 'minimum': 7, 'maximum': 1234}",
        "{'type': 'integer', 'exclusiveMinimum': -120, 'exclusiveMaximum': -9}",
        "{'type': 'integer', 'minimum': 2.5}",
        "{'type': 'integer', 'maximum': -10}",
        "{'type': 'integer', 'minimum': -5, 'maximum': 105}",
        "{'type': 'string', 'pattern': '^[A-Z]{2}-[0-9]{1,3}$'}",
        "{'type': 'string', 'pattern': 'ab|^c'}",
        "{'type': 'string', 'pattern': '^[\\\"\\\\\\\\/\\n]{1,4}$'}",
        "{'type': 'string', 'format': 'date'}",
        "{'type': 'string', 'format': 'date-time'}",
        "{'type': 'string', 'format': 'time'}",
        "{'type': 'string', 'format': 'uuid'}",
        "{'type': 'string', 'format': 'ipv4'}",
        "{'type': 'string', 'format': 'hostname'}",
        "{'$defs': {'node': {'type': 'object', 'properties': {'v': {'type': 'integer'}, 'next': {'anyOf': [{'$ref': '#/$defs/node'}, "
                + "{'type': 'null'}]}}, 'required': ['v', 'next'], 'additionalProperties': false}}, '$ref': '#/$defs/node'}",
        "{'type': 'object', 'properties': {'kids': {'type': 'array', 'items': {'$ref': '#'}}}, 'required': ['kids']}",
        "{'oneOf': [{'type': 'object', 'properties': {'kind': {'const': 'a'}, 'x': {'type': 'integer'}}, 'required': ['kind', 'x']}, "
                + "{'type': 'object', 'properties': {'kind': {'const': 'b'}}, 'required': ['kind']}, {'type': 'string', 'maxLength': 3}]}",
        "{'allOf': [{'type': 'boolean'}]}",
        "{'type': 'object', 'properties': {'a b\\\"c': {'type': 'array', 'items': {'type': 'array', 'items': {'type': 'null'}}}}}"})
    void every_answer_parses_and_is_valid(String quoted) throws IOException {
        String schema = quoted.replace('\'', '"');
        JsonSchema validator = validator(schema);
        SplittableRandom random = new SplittableRandom(schema.hashCode());
        Set<String> distinct = new HashSet<>();
        for (String name : new String[] {"byte-level", "metaspace"}) {
            Tokenizer tokenizer = Answers.tokenizer(name);
            TokenGrammar grammar = new TokenGrammar(SchemaGrammar.of("test", json(schema)), new Vocabulary(tokenizer.bytes()));
            for (int run = 0; run < 25; run++) {
                String answer = Answers.draw(grammar, tokenizer, grammar.shortest() + random.nextInt(120), 0.2, random);
                assertThat(answer).as("ends in its tokens").isNotNull();
                JsonNode value = json(answer);
                assertThat(validator.validate(value)).as("%s for %s", answer, schema).isEmpty();
                distinct.add(answer);
            }
        }
        assertThat(distinct).isNotEmpty();
    }

    /** The validator knows the top-level domains that there are; the grammar does not. */
    @Test
    void mail_addresses_look_like_some() throws IOException {
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        TokenGrammar grammar = new TokenGrammar(SchemaGrammar.of("test", json("{\"type\": \"string\", \"format\": \"email\"}")),
                new Vocabulary(tokenizer.bytes()));
        SplittableRandom random = new SplittableRandom(2);
        for (int run = 0; run < 50; run++) {
            assertThat(json(Answers.draw(grammar, tokenizer, 60, 0.2, random)).asText())
                    .matches("[\\w+-]+(\\.[\\w+-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}");
        }
    }

    @Test
    void any_object_is_an_object_however_it_is_drawn() throws IOException {
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        TokenGrammar grammar = new TokenGrammar(SchemaGrammar.anyObject("test"), new Vocabulary(tokenizer.bytes()));
        SplittableRandom random = new SplittableRandom(11);
        int nested = 0;
        for (int run = 0; run < 200; run++) {
            String answer = Answers.draw(grammar, tokenizer, 2 + random.nextInt(300), 0, random);
            JsonNode value = json(answer);
            assertThat(value.isObject()).as(answer).isTrue();
            nested += value.toString().contains("{\"") && value.toString().indexOf('{', 1) > 0 ? 1 : 0;
        }
        assertThat(nested).as("objects in objects").isGreaterThan(3);
    }

    @Test
    void values_of_a_schema_that_a_model_would_write_are_accepted_with_its_spaces() throws IOException {
        Grammar grammar = SchemaGrammar.of("test", json("""
                {"type": "object", "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
                 "score": {"type": "number"}}, "required": ["name", "tags"]}"""));
        for (String fine : new String[] {"{\"name\":\"x\",\"tags\":[]}",
                "{\"name\": \"Zoë \\u00e9\", \"tags\": [\"a\", \"b\"], \"score\": -1.5e3}",
            "{\n  \"name\": \"x\",\n  \"tags\": [\n    \"a\"\n  ]\n}"}) {
            assertThat(Answers.accepts(grammar, fine)).as(fine).isTrue();
        }
        for (String wrong : new String[] {"{\"tags\":[],\"name\":\"x\"}", "{\"name\":\"x\"}", "{\"name\":\"x\",\"tags\":[1]}",
            "{\"name\":\"x\",\"tags\":[],}", "{\"name\":\"x\",\"tags\":[],\"more\":1}", "{\"name\":\"a\u0001\",\"tags\":[]}",
            "{\"name\":\"\\ud800\",\"tags\":[]}", "{\"name\":\"x\",\"tags\":[],\"score\":01}", " {\"name\":\"x\",\"tags\":[]}"}) {
            assertThat(Answers.accepts(grammar, wrong)).as(wrong).isFalse();
        }
    }

    @Test
    void thousands_of_properties_and_counts_are_made_and_walked_in_time() throws IOException {
        StringBuilder schema = new StringBuilder("{\"type\":\"object\",\"properties\":{");
        for (int i = 0; i < 3000; i++) {
            schema.append(i == 0 ? "" : ",").append("\"p").append(i).append("\":{\"type\":\"string\",\"maxLength\":8}");
        }
        Grammar grammar = SchemaGrammar.of("test", json(schema + "},\"required\":[\"p2999\"]}"));
        assertTimeout(Duration.ofSeconds(20),
                () -> assertThat(Answers.accepts(grammar, "{\"p1\":\"\", \"p2998\":\"12345678\", \"p2999\":\"x\"}")).isTrue());
    }

    @Test
    void integers_of_a_range_are_all_there_and_no_others() throws IOException {
        for (int[] range : new int[][] {{0, 0}, {-7, 3}, {5, 28}, {99, 101}, {-130, -8}, {0, 1000}, {17, 17}}) {
            Grammar grammar = SchemaGrammar.of("test", json("{\"type\":\"integer\",\"minimum\":" + range[0] + ",\"maximum\":" + range[1]
                    + "}"));
            for (int i = -200; i <= 1100; i++) {
                assertThat(Answers.accepts(grammar, Integer.toString(i))).as("%s in %s to %s", i, range[0], range[1])
                        .isEqualTo(i >= range[0] && i <= range[1]);
            }
            assertThat(Answers.accepts(grammar, "-0")).isFalse();
            assertThat(Answers.accepts(grammar, "007")).isFalse();
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{'not': {}} | test's schema at #: not is not supported",
        "{'type': 'array', 'uniqueItems': true} | uniqueItems is not supported",
        "{'type': 'array', 'contains': {}} | contains is not supported",
        "{'type': 'object', 'patternProperties': {}} | patternProperties is not supported",
        "{'type': 'object', 'properties': {'a': {'if': {}}}} | test's schema at #/properties/a: if is not supported",
        "{'type': 'number', 'minimum': 1} | minimum of a number is not supported; of an integer it is",
        "{'type': 'integer', 'multipleOf': 3} | multipleOf is not supported",
        "{'type': 'integer', 'minimum': 3, 'maximum': 2} | there is no integer from 3 to 2",
        "{'type': 'text'} | type is \"text\"; it must be of [object, array, string, number, integer, boolean, null]",
        "{'$ref': 'https://example.org/x'} | $ref 'https://example.org/x' is not supported",
        "{'$ref': '#/$defs/x'} | $ref '#/$defs/x' points to nothing",
        "{'$ref': '#'} | can call itself before it takes a character",
        "{'type': 'string', 'format': 'iri'} | format 'iri' is not supported; those are: [date, date-time, email",
        "{'type': 'string', 'pattern': 'a', 'minLength': 3} | only one is supported at a time",
        "{'type': 'string', 'pattern': '(?=a)'} | pattern is a regular expression that has look-around",
        "{'type': 'string', 'maxLength': -1} | maxLength is -1; it must be a whole number from 0",
        "{'oneOf': [{'type': 'string'}, {'enum': ['a']}]} | oneOf is supported where no value can be of two branches",
        "{'allOf': [{'type': 'string'}, {}]} | allOf of several schemas is not supported",
        "{'anyOf': [{'type': 'string'}], 'properties': {}} | properties beside anyOf is not supported",
        "{'type': 'object', 'properties': {'a': {}}, 'required': ['b'], 'additionalProperties': false} | required names 'b'",
        "{'type': 'object', 'properties': {'a': {'$ref': '#'}}, 'required': ['a']} | test allows no finite answer",
        "{'type': 'array', 'items': {'type': 'array', 'items': {'type': 'string', 'minLength': 9999}, 'minItems': 9999}, 'minItems': 99} "
                + "| or none of a length that can be given",
        "3 | a schema must be an object, or true"})
    void what_is_not_enforced_is_refused_by_name(String schema, String message) {
        assertThatThrownBy(() -> new Automaton(SchemaGrammar.of("test", json(schema.replace('\'', '"'))))).isInstanceOf(Problem.class)
                .hasMessageContaining(message);
    }
}
