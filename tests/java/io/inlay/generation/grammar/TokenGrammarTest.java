package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.model.TokenBytes;
import io.inlay.model.Tokenizer;
import java.util.Arrays;
import java.util.BitSet;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenGrammarTest {

    /** What the mask says, asked token by token. */
    private static BitSet slowly(Grammar grammar, TokenBytes tokens, byte[] soFar, boolean first) {
        return slowly(grammar, tokens, soFar, first, Integer.MAX_VALUE);
    }

    /** @param limit what an answer may owe after the token, in bytes */
    private static BitSet slowly(Grammar grammar, TokenBytes tokens, byte[] soFar, boolean first, int limit) {
        Automaton automaton = new Automaton(grammar);
        Automaton.State state = automaton.start();
        for (byte each : soFar) {
            state = automaton.step(state, each & 0xFF);
        }
        BitSet allowed = new BitSet();
        for (int id = 0; id < tokens.bytes().length; id++) {
            byte[] bytes = tokens.bytes()[id];
            int from = first && tokens.dropsFirstSpace() && bytes != null && bytes.length > 0 && bytes[0] == ' ' ? 1 : 0;
            Automaton.State at = bytes == null || bytes.length == from ? null : state;
            for (int i = from; at != null && i < bytes.length; i++) {
                at = automaton.step(at, bytes[i] & 0xFF);
            }
            if (at != null && at.shortest() <= limit) {
                allowed.set(id);
            }
        }
        return allowed;
    }

    @ParameterizedTest
    @ValueSource(strings = {"byte-level", "metaspace"})
    void the_mask_is_what_asking_token_by_token_says(String name) {
        Tokenizer tokenizer = Answers.tokenizer(name);
        TokenBytes tokens = tokenizer.bytes();
        Grammar grammar = SchemaGrammar.anyObject("test");
        TokenGrammar masked = new TokenGrammar(grammar, new Vocabulary(tokens));
        SplittableRandom random = new SplittableRandom(8);
        for (int run = 0; run < 20; run++) {
            TokenGrammar.Walk walk = masked.begin(100_000);
            byte[] soFar = {};
            for (int step = 0; step < 15 && !walk.over(); step++) {
                BitSet allowed = walk.allowed();
                assertThat(allowed).isEqualTo(slowly(grammar, tokens, soFar, step == 0));
                int token = allowed.stream().skip(random.nextInt(allowed.cardinality())).findFirst().orElseThrow();
                walk.take(token);
                byte[] bytes = tokens.bytes()[token];
                int from = step == 0 && tokens.dropsFirstSpace() && bytes[0] == ' ' ? 1 : 0;
                byte[] longer = Arrays.copyOf(soFar, soFar.length + bytes.length - from);
                System.arraycopy(bytes, from, longer, soFar.length, bytes.length - from);
                soFar = longer;
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"byte-level", "metaspace"})
    void an_answer_is_whole_within_as_many_tokens_as_its_shortest_form_has_bytes(String name) {
        Tokenizer tokenizer = Answers.tokenizer(name);
        Grammar grammar = Grammar.gbnf("root ::= \"<\" inner \">\"\ninner ::= [a-z]{3,} | root root?");
        TokenGrammar masked = new TokenGrammar(grammar, new Vocabulary(tokenizer.bytes()));
        assertThat(masked.shortest()).isEqualTo(5);
        SplittableRandom random = new SplittableRandom(3);
        int longest = 0;
        for (int run = 0; run < 300; run++) {
            String answer = Answers.draw(masked, tokenizer, 5 + run % 40, 0, random);
            assertThat(answer).isNotNull();
            assertThat(Answers.accepts(grammar, answer)).as(answer).isTrue();
            longest = Math.max(longest, answer.length());
        }
        assertThat(longest).isGreaterThan(20);
    }

    @Test
    void texts_come_back_from_the_decoder_as_the_grammar_says_at_their_first_space_too() {
        Tokenizer tokenizer = Answers.tokenizer("metaspace");
        TokenGrammar masked = new TokenGrammar(Grammar.regex(" ?(the|a) [a-z]{1,5}"), new Vocabulary(tokenizer.bytes()));
        SplittableRandom random = new SplittableRandom(4);
        for (int run = 0; run < 100; run++) {
            assertThat(Answers.draw(masked, tokenizer, 30, 0.3, random)).matches(" ?(the|a) [a-z]{1,5}");
        }
    }

    @Test
    void what_was_worked_out_is_let_go_before_it_grows_without_bound_and_the_answers_stay_right() {
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        Grammar grammar = Grammar.regex("([a-d]{1,40}x){1,400}");
        TokenGrammar masked = new TokenGrammar(grammar, new Vocabulary(tokenizer.bytes()));
        SplittableRandom random = new SplittableRandom(6);
        for (int run = 0; run < 6; run++) {
            String answer = Answers.draw(masked, tokenizer, 3000, 0, random);
            assertThat(answer).isNotNull();
            assertThat(Answers.accepts(grammar, answer)).isTrue();
            assertThat(answer).matches("([a-d]{1,40}x){1,400}");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"byte-level", "metaspace"})
    void the_mask_of_an_answer_that_is_cut_short_is_what_asking_token_by_token_says_and_costs_no_work(String name) {
        TokenBytes tokens = Answers.tokenizer(name).bytes();
        Grammar grammar = Grammar.regex("x?([a-z ]{6,30}|[0-9]+(é|ü|[0-9]){3,9}|[а-я]{2,40}|[^x]{9,50})!{3}");
        TokenGrammar masked = new TokenGrammar(grammar, new Vocabulary(tokens));
        masked.begin(1000).allowed();
        int changes = 0;
        BitSet before = null;
        for (int left = masked.shortest(); left < 60; left++) {
            BitSet allowed = masked.begin(left).known();
            assertThat(allowed).as("with %d tokens left", left).isEqualTo(slowly(grammar, tokens, new byte[0], true, left - 1));
            changes += allowed.equals(before) ? 0 : 1;
            before = allowed;
        }
        assertThat(changes).isGreaterThan(3);
    }

    @Test
    void an_answer_goes_on_while_a_mask_of_its_grammar_is_worked_out_for_another() throws Exception {
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        TokenGrammar masked = new TokenGrammar(SchemaGrammar.anyObject("test"), new Vocabulary(tokenizer.bytes()));
        TokenGrammar.Walk walk = masked.begin(100);
        int token = walk.allowed().nextSetBit(0);
        CompletableFuture<Boolean> over;
        synchronized (masked.automaton()) {
            over = CompletableFuture.supplyAsync(() -> {
                masked.begin(50).known();
                walk.take(token);
                return walk.over() || walk.known() != null;
            });
            assertThat(over.get(30, TimeUnit.SECONDS)).isFalse();
        }
    }

    @Test
    void masks_are_kept_up_to_so_many_bytes_the_last_used_ones_and_worked_out_again_as_they_were() {
        Tokenizer tokenizer = Answers.tokenizer("byte-level");
        Vocabulary vocabulary = new Vocabulary(tokenizer.bytes());
        long bound = 2L * vocabulary.size();
        MaskCache few = new MaskCache(bound);
        Grammar grammar = Grammar.regex("[a-d]{1,60}x");
        TokenGrammar bounded = new TokenGrammar(grammar, vocabulary, few);
        TokenGrammar roomy = new TokenGrammar(grammar, vocabulary);
        for (int run = 0; run < 2; run++) {
            TokenGrammar.Walk walk = bounded.begin(100);
            TokenGrammar.Walk other = roomy.begin(100);
            assertThat(walk.known()).isNull();
            for (int step = 0; step < 40; step++) {
                BitSet allowed = walk.allowed();
                assertThat(allowed).isEqualTo(other.allowed());
                assertThat(walk.known()).isEqualTo(allowed);
                assertThat(few.bytes()).isBetween(1L, bound);
                int token = allowed.nextSetBit(0);
                walk.take(token);
                other.take(token);
            }
            assertThat(few.size()).isBetween(2, 39);
        }
    }
}
