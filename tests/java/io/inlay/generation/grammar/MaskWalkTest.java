package io.inlay.generation.grammar;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.model.TokenBytes;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.Stream;
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

    @Test
    void subtrees_at_once_give_what_asking_token_by_token_gives_with_broken_characters_too() {
        SplittableRandom random = new SplittableRandom(6);
        String[] pieces = {"a", "b", " ", "7", "\"", "é", "ж", "д", "中", "丁", "\uD83D\uDE00", "\u0800", "\uD7FF"};
        List<Grammar> grammars = Stream.of("[^\"]*", "[^\"]{0,5}\"?", "([^7]{2,9}7){1,3}", "(a|é|[ж-я])*", "[\\u4e00-\\u9fff ]{1,4}b*",
                ".*", "([a-z ]|中)*[^ ]{3}").map(Grammar::regex).toList();
        for (int run = 0; run < 60; run++) {
            byte[][] tokens = new byte[400][];
            for (int id = 0; id < tokens.length; id++) {
                StringBuilder text = new StringBuilder();
                for (int i = random.nextInt(6); i >= 0; i--) {
                    text.append(pieces[random.nextInt(pieces.length)]);
                }
                byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
                int from = random.nextInt(8) == 0 ? random.nextInt(bytes.length) : 0;
                int to = random.nextInt(8) == 0 ? from + 1 + random.nextInt(bytes.length - from) : bytes.length;
                tokens[id] = Arrays.copyOfRange(bytes, from, to);
                if (random.nextInt(40) == 0) {
                    tokens[id][random.nextInt(tokens[id].length)] = (byte) random.nextInt(256);
                }
            }
            Vocabulary some = new Vocabulary(new TokenBytes(tokens, false));
            for (Grammar grammar : grammars) {
                Automaton automaton = new Automaton(grammar);
                Automaton.State state = automaton.start();
                for (int step = 0; step < 6 && state != null; step++) {
                    TokenMask mask = new MaskWalk(automaton, some).from(state, false);
                    for (int limit : new int[] {0, 1, 2, 3, 5, 9, Nodes.NEVER}) {
                        assertThat(mask.within(limit)).as("%s within %d", grammar, limit)
                                .isEqualTo(slowly(automaton, state, tokens, limit));
                    }
                    byte[] next = tokens[random.nextInt(tokens.length)];
                    state = after(automaton, state, next);
                }
            }
        }
    }

    private static BitSet slowly(Automaton automaton, Automaton.State from, byte[][] tokens, int limit) {
        BitSet allowed = new BitSet();
        for (int id = 0; id < tokens.length; id++) {
            Automaton.State state = after(automaton, from, tokens[id]);
            allowed.set(id, state != null && state.shortest() <= limit);
        }
        return allowed;
    }

    private static Automaton.State after(Automaton automaton, Automaton.State from, byte[] bytes) {
        Automaton.State state = from;
        for (int i = 0; i < bytes.length && state != null; i++) {
            state = automaton.step(state, bytes[i] & 0xFF);
        }
        return state;
    }

    @Test
    void characters_are_well_formed_as_javas_decoder_says() {
        SplittableRandom random = new SplittableRandom(7);
        int whole = 0;
        for (int run = 0; run < 200_000; run++) {
            byte[] bytes = new byte[1 + random.nextInt(4)];
            for (int i = 0; i < bytes.length; i++) {
                bytes[i] = (byte) (i == 0 ? random.nextInt(256) : 0x70 + random.nextInt(0x60));
            }
            int state = Utf8.WHOLE;
            for (byte each : bytes) {
                state = Utf8.next(state, each & 0xFF);
            }
            boolean decodes = !new String(bytes, StandardCharsets.UTF_8).contains("\uFFFD");
            assertThat(state == Utf8.WHOLE).as(Arrays.toString(bytes)).isEqualTo(decodes);
            whole += decodes ? 1 : 0;
        }
        assertThat(whole).isGreaterThan(10_000);
    }
}
