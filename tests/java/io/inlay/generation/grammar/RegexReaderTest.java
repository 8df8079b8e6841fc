package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.model.Tokenizer;
import java.util.SplittableRandom;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Regular expressions against java.util.regex, on random texts near their alphabets. */
class RegexReaderTest {

    @ParameterizedTest
    @ValueSource(strings = {"ab*c", "(ab|a)(c|bcd)", "a{2,4}b?", "[ab]+c|d", "(a|b)*abb", "[^a]b", "a.c", "(?:ab){3}", "a+?b", "x*", "",
        "(a*)*b", "(a|)+c", "[a-c]{0,3}", "\\d+(\\.\\d{1,2})?", "[\\w-]+", "\\w[ \\t]\\w", "(?<year>1|2)0", "^a|b$", "\\x61\\u0062",
                "[\\]a]",
        "a{0}b", "(a{1,2}){2}", "é+|[α-γ]ü", "(((a)))", "a|b|", "\\.\\*\\[", "[.*]", "😀?a"})
    void a_text_is_accepted_exactly_when_the_pattern_matches_it(String pattern) {
        Grammar grammar = Grammar.regex(pattern);
        Pattern reference = Pattern.compile(pattern.replace("^", pattern.startsWith("^") ? "" : "^").replaceAll("\\$$", ""));
        SplittableRandom random = new SplittableRandom(5);
        String alphabet = "abcd01 .*[]-_éαβü,{2}\n";
        for (int i = 0; i < 3000; i++) {
            StringBuilder text = new StringBuilder();
            int length = random.nextInt(7);
            for (int j = 0; j < length; j++) {
                String from = pattern.isEmpty() || random.nextInt(4) == 0 ? alphabet : pattern;
                int at = random.nextInt(from.length());
                text.append(Character.isSurrogate(from.charAt(at)) ? "😀" : String.valueOf(from.charAt(at)));
            }
            boolean matches = reference.matcher(text).matches();
            assertThat(Answers.accepts(grammar, text.toString())).as("'%s' by %s", text, pattern).isEqualTo(matches);
        }
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        TokenGrammar masked = new TokenGrammar(grammar, new Vocabulary(tokenizer.bytes()));
        for (int i = 0; i < 50; i++) {
            assertThat(Answers.draw(masked, tokenizer, 20, 0.3, random)).matches(reference);
        }
    }

    @Test
    void every_character_is_taken_by_the_class_that_has_it() {
        Grammar grammar = Grammar.regex("[\\u0080-\\uD7FF\\uE000-\\u{10FFFF}]");
        for (int c = 0; c <= 0x10FFFF; c += c < 0x1000 ? 1 : 37) {
            if (c < 0xD800 || c > 0xDFFF) {
                assertThat(Answers.accepts(grammar, new String(Character.toChars(c)))).as("U+%x", c).isEqualTo(c >= 0x80);
            }
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "(?=a)b | look-around or a flag, '(?='",
        "(a)\\1 | '\\1', which is not supported (a back reference)",
        "a\\b | a word boundary",
        "\\p{L} | '\\p', which is not supported",
        "(a | a group that does not end",
        "a) | a ')' that closes nothing",
        "[a | a class that does not end",
        "*a | '*' with nothing in front of it",
        "(^a) | anchors may only be at the ends",
        "[z-a] | a range whose end is before its beginning",
        "a{3,2} | a repetition of 3 to 2 times is none",
        "a{99999} | at most 10000 are taken",
        "a++ | a possessive quantifier",
        "\\ud800 | half a character"})
    void what_is_not_supported_is_refused_by_name(String pattern, String message) {
        assertThatThrownBy(() -> new Automaton(Grammar.regex(pattern))).isInstanceOf(Problem.class).hasMessageContaining(message);
    }

    @Test
    void what_would_take_too_much_is_refused_before_it_does() {
        assertThatThrownBy(() -> Grammar.regex("(".repeat(5000))).isInstanceOf(Problem.class)
                .hasMessageContaining("groups more than 200 deep");
        assertThatThrownBy(() -> Grammar.regex("a".repeat(50_000))).isInstanceOf(Problem.class).hasMessageContaining("50000 characters");
        assertThatThrownBy(() -> new Automaton(Grammar.regex("(((((ab){9000}c){9000}d){9000}e){9000}f|x){9000}".repeat(40))))
                .isInstanceOf(Problem.class).hasMessageContaining("is too large: it needs more than");
    }
}
