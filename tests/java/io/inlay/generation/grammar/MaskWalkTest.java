package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.model.TokenBytes;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What a mask costs that nobody asked for before, counted: nodes of the vocabulary's tree looked at, and transitions worked out. */
class MaskWalkTest {

    private static final int WORDS = 20_000;
    private static Vocabulary vocabulary;

    /** All bytes, and words of one script or the other, some behind a space, some with punctuation. */
    @BeforeAll
    static void make() {
        SplittableRandom random = new SplittableRandom(5);
        Set<String> words = new HashSet<>();
        while (words.size() < WORDS) {
            StringBuilder word = new StringBuilder(random.nextInt(2) == 0 ? " " : "");
            boolean latin = random.nextInt(5) > 0;
            int letters = 2 + random.nextInt(9);
            for (int i = 0; i < letters; i++) {
                word.append((char) ((latin ? 'a' : 'а') + random.nextInt(26)));
            }
            words.add(word.append(random.nextInt(50) == 0 ? "\"," : "").toString());
        }
        byte[][] tokens = new byte[ByteClasses.BYTES + WORDS][];
        for (int value = 0; value < ByteClasses.BYTES; value++) {
            tokens[value] = new byte[] {(byte) value};
        }
        int id = ByteClasses.BYTES;
        for (String word : words.stream().sorted().toList()) {
            tokens[id++] = word.getBytes(StandardCharsets.UTF_8);
        }
        vocabulary = new Vocabulary(new TokenBytes(tokens, false));
    }

    private record Cost(int tokens, int visited, long transitions, int classes) {
    }

    private static Cost cost(Grammar grammar, String soFar) {
        Automaton automaton = new Automaton(grammar);
        Automaton.State state = automaton.start();
        for (byte each : soFar.getBytes(StandardCharsets.UTF_8)) {
            state = automaton.step(state, each & 0xFF);
        }
        long before = automaton.transitions();
        MaskWalk walk = new MaskWalk(automaton, vocabulary);
        int tokens = walk.from(state, false).all().cardinality();
        return new Cost(tokens, walk.visited(), automaton.transitions() - before, automaton.classes());
    }

    @Test
    void within_a_text_words_are_taken_in_by_subtrees_whether_their_number_is_bounded_or_not() {
        for (String text : new String[] {"\"[^\"]*\"", "\"[^\"]{30,900}\"", "\"[^!\"]{2,70}\""}) {
            Cost cost = cost(Grammar.regex(text), "\"ab");
            assertThat(cost.tokens).as(text).isGreaterThan(WORDS * 9 / 10);
            assertThat(cost.visited).as(text).isLessThan(vocabulary.trie().size() / 10);
        }
    }

    @Test
    void where_few_words_fit_few_nodes_are_looked_at() {
        Cost cost = cost(Grammar.regex("(yes|no), [0-9]{5}"), "");
        assertThat(cost.tokens).isLessThan(20);
        assertThat(cost.visited).isLessThan(400);
    }

    @Test
    void a_transition_is_worked_out_once_for_all_bytes_that_the_grammar_does_not_tell_apart() {
        Cost unbounded = cost(Grammar.regex("\"[^\"]*\""), "\"ab");
        assertThat(unbounded.classes).isLessThan(25);
        assertThat(unbounded.transitions).isLessThan(10L * unbounded.classes);
        Cost bounded = cost(Grammar.regex("\"[^\"]{30,900}\""), "\"ab");
        assertThat(bounded.transitions).isLessThan(vocabulary.trie().deepest() * 8L * bounded.classes);
    }
}
