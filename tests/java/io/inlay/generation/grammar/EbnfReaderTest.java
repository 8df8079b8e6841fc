package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EbnfReaderTest {

    /** Sums with brackets; by hand. */
    private static final String SUMS = """
            # a comment
            root  ::= sum "\\n"?
            sum   ::= term (("+" | "-") term)*   # the tail
            term  ::= number
                    | "(" sum ")"
            number ::= [0-9]{1,3}
            """;

    @ParameterizedTest
    @CsvSource({"1, true", "1+22, true", "(1-2)+(3), true", "((((7)))), true", "((7), false", "1+, false", "1234, false", "'', false",
        "+1, false", "(1)), false"})
    void rules_call_each_other_and_themselves(String text, boolean accepted) {
        assertThat(Answers.accepts(Grammar.gbnf(SUMS), text)).isEqualTo(accepted);
        assertThat(Answers.accepts(Grammar.gbnf(SUMS), text + "\n")).isEqualTo(accepted);
    }

    @Test
    void texts_have_escapes_and_any_characters() {
        Grammar grammar = Grammar.gbnf("root ::= \"a\\\"\\\\\\t\" . [^x\\]] \"\\u00e9.*\"");
        assertThat(Answers.accepts(grammar, "a\"\\\t火yé.*")).isTrue();
        assertThat(Answers.accepts(grammar, "a\"\\\t火xé.*")).isFalse();
        assertThat(Answers.accepts(grammar, "a\"\\\t火yé..")).isFalse();
    }

    @Test
    void lists_of_any_length_do_not_deepen_the_stack() {
        Grammar grammar = Grammar.gbnf("root ::= item | item \",\" root\nitem ::= [a-z]+");
        assertThat(Answers.accepts(grammar, "a,".repeat(20_000) + "b")).isTrue();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "rot ::= 'x' | line 1: a rule's name is expected here",
        "rot ::= \"x\" | grammar has no rule 'root'",
        "root ::= other | grammar refers to 'other', which it does not define",
        "root ::= root \"x\" ; \"y\" | a rule's name is expected here",
        "root ::= root \"x\" | 'root' can call itself before it takes a character",
        "root ::= [a]* root \"x\" | 'root' can call itself before it takes a character",
        "root ::= \"x\" root | grammar allows no finite answer",
        "root = \"x\" | rule 'root' needs ::= behind its name",
        "root ::= (\"x\" | a group needs its ')'",
        "root ::= \"x | a text needs its closing",
        "root ::= \"x\"{2 | a repetition is {m}",
        "root ::= \"x\"~root ::= \"y\" | rule 'root' is there twice"})
    void what_is_no_grammar_is_refused_with_the_reason(String text, String message) {
        assertThatThrownBy(() -> new Automaton(Grammar.gbnf(text.replace('~', '\n').replace('!', '|')))).isInstanceOf(Problem.class)
                .hasMessageContaining(message);
    }
}
