package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class InParallelTest {

    @Test
    void every_piece_has_ended_when_one_has_thrown_and_the_first_of_them_is_told() {
        for (int round = 0; round < 50; round++) {
            AtomicInteger ended = new AtomicInteger();
            assertThatThrownBy(() -> InParallel.forEach(40, i -> {
                if (i % 7 == 3) {
                    ended.incrementAndGet();
                    throw new IllegalStateException("piece " + i);
                }
                sleep();
                ended.incrementAndGet();
            })).isInstanceOf(IllegalStateException.class).hasMessage("piece 3");
            assertThat(ended).hasValue(40);
        }
    }

    private static void sleep() {
        try {
            Thread.sleep(1);
        } catch (InterruptedException interrupted) {
            throw new AssertionError(interrupted);
        }
    }
}
