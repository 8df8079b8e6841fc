package io.inlay.access;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class RateLimitsTest {

    private final AtomicLong now = new AtomicLong(-5_000_000_000L);

    private RateLimits limits(double rate, int burst) {
        return new RateLimits(rate, burst, now::get);
    }

    @Test
    void a_burst_is_let_through_and_then_as_many_as_the_rate() {
        RateLimits limits = limits(2, 3);
        for (int i = 0; i < 3; i++) {
            assertThat(limits.take("acme")).isEmpty();
        }
        assertThat(limits.take("acme")).contains(Duration.ofMillis(500));
        now.addAndGet(499_000_000);
        assertThat(limits.take("acme").orElseThrow()).isBetween(Duration.ofMillis(1), Duration.ofNanos(1_000_010));
        now.addAndGet(1_000_010);
        assertThat(limits.take("acme")).isEmpty();
        assertThat(limits.take("acme")).isPresent();
    }

    @Test
    void one_tenants_requests_are_not_anothers() {
        RateLimits limits = limits(1, 1);
        assertThat(limits.take("acme")).isEmpty();
        assertThat(limits.take("acme")).isPresent();
        assertThat(limits.take("other")).isEmpty();
    }

    @Test
    void over_any_time_no_more_pass_than_the_burst_and_the_rate_give() {
        Random random = new Random(3);
        for (int round = 0; round < 50; round++) {
            double rate = 0.5 + random.nextDouble() * 50;
            int burst = 1 + random.nextInt(20);
            RateLimits limits = limits(rate, burst);
            long start = now.get();
            int passed = 0;
            for (int i = 0; i < 500; i++) {
                now.addAndGet(random.nextInt(60_000_000));
                passed += limits.take("acme").isEmpty() ? 1 : 0;
            }
            double seconds = (now.get() - start) / 1e9;
            assertThat((double) passed).isLessThanOrEqualTo(burst + rate * seconds + 1e-6);
            assertThat(passed).isGreaterThanOrEqualTo(burst);
        }
    }

    @Test
    void whoever_waits_as_long_as_told_is_let_through() {
        RateLimits limits = limits(7, 1);
        assertThat(limits.take("acme")).isEmpty();
        for (int i = 0; i < 1000; i++) {
            now.addAndGet(limits.take("acme").orElseThrow().toNanos());
            assertThat(limits.take("acme")).as("%d", i).isEmpty();
        }
    }

    @Test
    void no_rate_is_no_limit_and_what_is_none_is_refused() {
        RateLimits limits = limits(0, 1);
        for (int i = 0; i < 10_000; i++) {
            assertThat(limits.take("acme")).isEmpty();
        }
        assertThatThrownBy(() -> limits(-1, 1)).isInstanceOf(Problem.class).hasMessage("inlay.limits.requests-per-second is -1.0 and "
                + "inlay.limits.burst 1; the first must be 0 (no limit) or more, the second at least 1");
        assertThatThrownBy(() -> limits(Double.NaN, 1)).isInstanceOf(Problem.class);
        assertThatThrownBy(() -> limits(1, 0)).isInstanceOf(Problem.class);
    }
}
