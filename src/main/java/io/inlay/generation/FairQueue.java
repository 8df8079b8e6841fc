package io.inlay.generation;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;

/**
 * What waits, by tenant: the next is of the tenant who has been served least, in tokens (the virtual token counter of Sheng et al. 2024,
 * "Fairness in Serving Large Language Models"). Who comes back after a pause starts level with the least served of those who are there, so
 * a pause earns nothing and costs nothing. A tenant's own requests keep their order. Not thread-safe.
 */
final class FairQueue<T> {

    private final Map<String, Lane<T>> lanes = new HashMap<>();
    /** The least that anyone who waits has been served, or had when someone last did. */
    private double floor;
    private int size;

    private static final class Lane<T> {
        private final Deque<T> waiting = new ArrayDeque<>();
        private double served;
    }

    int size() {
        return size;
    }

    boolean isEmpty() {
        return size == 0;
    }

    void add(String tenant, T request) {
        Lane<T> lane = lanes.computeIfAbsent(tenant, _ -> new Lane<>());
        if (lane.waiting.isEmpty()) {
            lane.served = Math.max(lane.served, floor);
        }
        lane.waiting.add(request);
        size++;
    }

    /** Takes the next; there must be one. */
    T remove() {
        Lane<T> least = null;
        for (Lane<T> lane : lanes.values()) {
            if (!lane.waiting.isEmpty() && (least == null || lane.served < least.served)) {
                least = lane;
            }
        }
        floor = Math.max(floor, least.served);
        size--;
        return least.waiting.remove();
    }

    /** Counts tokens for a tenant, whether he has something waiting or not. */
    void charge(String tenant, double tokens) {
        Lane<T> lane = lanes.computeIfAbsent(tenant, _ -> new Lane<>());
        lane.served = Math.max(lane.served, floor) + tokens;
    }

    void removeIf(Predicate<T> leaves) {
        lanes.values().forEach(lane -> lane.waiting.removeIf(leaves));
        size = lanes.values().stream().mapToInt(lane -> lane.waiting.size()).sum();
    }

    /** Forgets tenants who neither wait nor are at work and have nothing to catch up with. */
    void forget(Set<String> atWork) {
        for (Iterator<Map.Entry<String, Lane<T>>> all = lanes.entrySet().iterator(); all.hasNext();) {
            Map.Entry<String, Lane<T>> each = all.next();
            if (each.getValue().waiting.isEmpty() && each.getValue().served <= floor && !atWork.contains(each.getKey())) {
                all.remove();
            }
        }
    }
}
