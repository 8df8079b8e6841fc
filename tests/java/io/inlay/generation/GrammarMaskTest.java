package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.generation.grammar.Grammar;
import io.inlay.generation.grammar.TokenGrammar;
import io.inlay.generation.grammar.Vocabulary;
import io.inlay.model.TokenBytes;
import io.inlay.model.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.Queue;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class GrammarMaskTest {

    private static final TokenBytes TOKENS = Tokenizer.open(Path.of("tests/golden/tokenizer/byte-level")).bytes();
    private static final Set<Integer> ENDS = Set.of(0, 7, TOKENS.bytes().length - 1);

    private static TokenGrammar grammar() {
        return new TokenGrammar(Grammar.regex("([a-z]{1,6} ?){2,5}"), new Vocabulary(TOKENS));
    }

    @Test
    void what_is_neither_allowed_nor_an_end_where_one_may_be_gets_minus_infinity_and_the_rest_stays() {
        TokenGrammar grammar = grammar();
        GrammarMask mask = new GrammarMask(grammar.begin(50), ENDS, "m");
        TokenGrammar.Walk walk = grammar.begin(50);
        SplittableRandom random = new SplittableRandom(2);
        int ended = 0;
        for (int step = 0; step < 12 && !walk.over(); step++) {
            float[] logits = new float[TOKENS.bytes().length];
            float[] expected = new float[logits.length];
            BitSet allowed = walk.allowed();
            for (int token = 0; token < logits.length; token++) {
                logits[token] = (float) random.nextDouble(-5, 5);
                boolean stays = allowed.get(token) || walk.mayEnd() && ENDS.contains(token);
                expected[token] = stays ? logits[token] : Float.NEGATIVE_INFINITY;
            }
            mask.process(logits);
            assertThat(logits).isEqualTo(expected);
            ended += walk.mayEnd() ? 1 : 0;
            int token = allowed.stream().skip(random.nextInt(allowed.cardinality())).findFirst().orElseThrow();
            mask.drew(token);
            walk.take(token);
        }
        assertThat(ended).isPositive();
    }

    @Test
    void a_mask_is_worked_out_elsewhere_unless_it_is_known_and_what_was_cancelled_is_not_begun() {
        TokenGrammar grammar = grammar();
        Queue<Runnable> elsewhere = new ArrayDeque<>();
        AtomicInteger heard = new AtomicInteger();
        GrammarMask cold = new GrammarMask(grammar.begin(50), ENDS, "m");
        cold.prepare(elsewhere::add, heard::incrementAndGet);
        assertThat(cold.ready()).isFalse();
        GrammarMask cancelled = new GrammarMask(grammar.begin(50), ENDS, "m");
        cancelled.prepare(elsewhere::add, () -> { });
        cancelled.cancel();
        assertThat(elsewhere).hasSize(2);
        Runnable first = elsewhere.remove();
        elsewhere.remove().run();
        assertThat(grammar.begin(50).known()).isNull();
        assertThat(heard).hasValue(0);
        first.run();
        assertThat(cold.ready()).isTrue();
        assertThat(heard).hasValue(1);
        GrammarMask warm = new GrammarMask(grammar.begin(50), ENDS, "m");
        warm.prepare(elsewhere::add, heard::incrementAndGet);
        assertThat(warm.ready()).isTrue();
        assertThat(elsewhere).isEmpty();
    }

    @Test
    void a_failure_elsewhere_is_told_where_the_mask_is_used() {
        GrammarMask mask = new GrammarMask(grammar().begin(50), ENDS, "m");
        mask.prepare(_ -> {
            throw new RejectedExecutionException("stopped");
        }, () -> { });
        assertThat(mask.ready()).isTrue();
        assertThatThrownBy(() -> mask.process(new float[TOKENS.bytes().length])).hasRootCauseMessage("stopped");
    }
}
