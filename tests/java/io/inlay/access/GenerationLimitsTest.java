package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import io.inlay.access.GenerationLimits.Settings;
import io.inlay.access.GenerationLimits.Ticket;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class GenerationLimitsTest {

    private final AtomicLong now = new AtomicLong(-7_000_000_000L);

    private GenerationLimits limits(int concurrent, int requests, long tokens) {
        return new GenerationLimits(new Settings(concurrent, requests, tokens), now::get);
    }

    private static Problem refusal(GenerationLimits limits, String tenant) {
        try {
            limits.admit(tenant);
        } catch (Problem refused) {
            assertThat(refused.code()).isEqualTo(Problem.Code.RATE_LIMIT_EXCEEDED);
            return refused;
        }
        throw new AssertionError("an answer was let in");
    }

    @Test
    void without_limits_everything_is_let_in() {
        GenerationLimits limits = limits(0, 0, 0);
        for (int i = 0; i < 10_000; i++) {
            limits.admit("acme").charge(1_000_000);
        }
    }

    @Test
    void as_many_as_the_limit_are_under_way_and_one_more_when_one_has_ended() {
        GenerationLimits limits = limits(2, 0, 0);
        Ticket first = limits.admit("acme");
        limits.admit("acme");
        assertThat(refusal(limits, "acme")).hasMessage("tenant acme has 2 answers under way, the most that it may have "
                + "(inlay.limits.generations); try again in 1 s");
        limits.admit("other");
        first.close();
        first.close();
        limits.admit("acme");
        refusal(limits, "acme");
    }

    @Test
    void answers_a_minute_come_back_evenly() {
        GenerationLimits limits = limits(0, 3, 0);
        for (int i = 0; i < 3; i++) {
            limits.admit("acme").close();
        }
        Problem refused = refusal(limits, "acme");
        assertThat(refused.retryAfter()).contains(Duration.ofSeconds(20));
        assertThat(refused)
                .hasMessage("tenant acme asks for more than 3 answers a minute (inlay.limits.generations-per-minute); try again in 20 s");
        limits.admit("other");
        now.addAndGet(20_000_000_001L);
        limits.admit("acme");
        refusal(limits, "acme");
    }

    @Test
    void tokens_are_counted_once_they_are_there_and_paid_back_over_time() {
        GenerationLimits limits = limits(0, 0, 600);
        Ticket first = limits.admit("acme");
        limits.admit("acme");
        first.charge(699);
        Problem refused = refusal(limits, "acme");
        assertThat(refused.retryAfter()).contains(Duration.ofSeconds(10));
        assertThat(refused).hasMessageContaining("uses more than 600 tokens a minute (inlay.limits.tokens-per-minute)");
        now.addAndGet(10_000_000_001L);
        limits.admit("acme");
    }

    @Test
    void what_was_refused_counts_for_nothing() {
        GenerationLimits limits = limits(1, 2, 0);
        Ticket first = limits.admit("acme");
        for (int i = 0; i < 10; i++) {
            refusal(limits, "acme");
        }
        first.close();
        limits.admit("acme");
    }

    @Test
    void tenants_who_ask_no_more_are_forgotten_and_those_at_work_are_not() {
        GenerationLimits limits = limits(1, 0, 0);
        Ticket kept = limits.admit("acme");
        for (int i = 0; i < 25_000; i++) {
            limits.admit("tenant-" + i).close();
        }
        refusal(limits, "acme");
        kept.close();
        limits.admit("acme");
    }

    @Test
    void limits_below_nothing_are_refused() {
        assertThatThrownBy(() -> limits(0, -1, 0)).isInstanceOf(Problem.class)
                .hasMessageContaining("inlay.limits.generations-per-minute -1");
    }
}
