package io.inlay.tuning;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;

/** With a clock that only moves by work and sleep. */
class YieldingPaceTest {

    private static final long MILLISECOND = 1_000_000;

    private long now = 1_000 * MILLISECOND;
    private long slept;

    private YieldingPace pace(BooleanSupplier others, double share) {
        return new YieldingPace(others, share, () -> now, nanos -> {
            now += nanos;
            slept += nanos;
            return true;
        });
    }

    private void work(YieldingPace pace, long milliseconds) {
        pace.await(() -> false);
        now += milliseconds * MILLISECOND;
    }

    @Test
    void beside_others_a_run_gets_its_share_of_the_time_and_no_more() {
        for (double share : new double[] {0.1, 0.5, 0.9}) {
            slept = 0;
            YieldingPace pace = pace(() -> true, share);
            long worked = 0;
            for (int piece = 1; piece <= 100; piece++) {
                work(pace, piece % 7 + 1);
                worked += piece % 7 + 1;
            }
            pace.await(() -> false);
            assertThat((double) worked * MILLISECOND / (worked * MILLISECOND + slept)).isBetween(share - 0.01, share + 0.01);
        }
    }

    @Test
    void a_run_alone_or_with_the_whole_share_never_waits() {
        YieldingPace alone = pace(() -> false, 0.1);
        YieldingPace whole = pace(() -> true, 1);
        for (int piece = 0; piece < 10; piece++) {
            work(alone, 50);
            work(whole, 50);
        }
        assertThat(slept).isZero();
    }

    @Test
    void a_wait_ends_when_the_others_end_and_nothing_is_owed_for_it_later() {
        long end = now + 130 * MILLISECOND;
        YieldingPace pace = pace(() -> now < end, 0.1);
        work(pace, 100);
        pace.await(() -> false);
        assertThat(slept).isBetween(30 * MILLISECOND, 32 * MILLISECOND);
        work(pace, 100);
        pace.await(() -> false);
        assertThat(slept).isBetween(30 * MILLISECOND, 32 * MILLISECOND);
    }

    @Test
    void a_wait_ends_when_the_run_is_cancelled() {
        YieldingPace pace = pace(() -> true, 0.001);
        work(pace, 100);
        long cancelled = now + 10 * MILLISECOND;
        pace.await(() -> now >= cancelled);
        assertThat(slept).isBetween(10 * MILLISECOND, 12 * MILLISECOND);
    }

    @Test
    void an_interrupted_wait_returns_and_leaves_the_mark() {
        YieldingPace pace = new YieldingPace(() -> true, 0.5);
        pace.await(() -> false);
        Thread.currentThread().interrupt();
        pace.await(() -> false);
        assertThat(Thread.interrupted()).isTrue();
    }

    @Test
    void no_share_is_no_pace() {
        for (double share : new double[] {0, -1, 1.1, Double.NaN}) {
            assertThatThrownBy(() -> new YieldingPace(() -> true, share)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessage("a share of " + share + " of the time; it is over 0 and at most 1");
        }
    }
}
