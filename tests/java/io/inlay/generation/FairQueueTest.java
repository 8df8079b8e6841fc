package io.inlay.generation;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class FairQueueTest {

    private final FairQueue<String> queue = new FairQueue<>();

    @Test
    void tenants_get_equal_tokens_however_many_requests_they_send() {
        for (int i = 0; i < 1000; i++) {
            queue.add("greedy", "greedy");
        }
        for (int i = 0; i < 100; i++) {
            queue.add("modest", "modest");
        }
        Map<String, Integer> served = new HashMap<>();
        for (int i = 0; i < 150; i++) {
            String next = queue.remove();
            int tokens = next.equals("greedy") ? 10 : 20;
            queue.charge(next, tokens);
            served.merge(next, tokens, Integer::sum);
        }
        assertThat(Math.abs(served.get("greedy") - served.get("modest"))).isLessThanOrEqualTo(20);
        assertThat(queue.size()).isEqualTo(950);
    }

    @Test
    void requests_of_one_tenant_keep_their_order() {
        queue.add("a", "1");
        queue.add("a", "2");
        queue.add("a", "3");
        assertThat(List.of(queue.remove(), queue.remove(), queue.remove())).containsExactly("1", "2", "3");
        assertThat(queue.isEmpty()).isTrue();
    }

    @Test
    void a_pause_earns_nothing() {
        queue.add("sleeper", "sleeper");
        queue.remove();
        for (int i = 0; i < 50; i++) {
            queue.add("busy", "busy");
        }
        for (int i = 0; i < 40; i++) {
            queue.charge(queue.remove(), 100);
        }
        for (int i = 0; i < 20; i++) {
            queue.add("sleeper", "sleeper");
        }
        List<String> order = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            order.add(queue.remove());
            queue.charge(order.getLast(), 100);
        }
        assertThat(order).filteredOn("sleeper"::equals).hasSizeBetween(4, 5);
    }

    @Test
    void what_leaves_is_not_counted_and_who_owes_nothing_is_forgotten() {
        queue.add("a", "stay");
        queue.add("a", "leave");
        queue.add("b", "leave");
        queue.removeIf("leave"::equals);
        assertThat(queue.size()).isEqualTo(1);
        assertThat(queue.remove()).isEqualTo("stay");
        queue.forget(Set.of());
        queue.add("b", "again");
        assertThat(queue.remove()).isEqualTo("again");
    }
}
