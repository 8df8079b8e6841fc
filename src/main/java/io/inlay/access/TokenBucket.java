package io.inlay.access;

import java.time.Duration;
import java.util.Optional;

/** Holds up to {@code burst} tokens and gains {@code rate} of them a second. Time is given to it, so that it has none of its own. */
final class TokenBucket {

    private static final double NANOS = 1e9;

    private final double rate;
    private final double burst;
    private double tokens;
    private long filledAt;

    TokenBucket(double rate, double burst, long now) {
        this.rate = rate;
        this.burst = burst;
        this.tokens = burst;
        this.filledAt = now;
    }

    /**
     * Takes one token, or says how long until there is one.
     *
     * @param now in nanoseconds, of any origin
     */
    synchronized Optional<Duration> take(long now) {
        Optional<Duration> wait = until(1, now);
        if (wait.isEmpty()) {
            tokens--;
        }
        return wait;
    }

    /** How long until it holds so many tokens; empty when it does. Takes none. */
    synchronized Optional<Duration> until(double wanted, long now) {
        // Threads may come with times out of order; what was counted once is not counted again.
        if (now > filledAt) {
            tokens = Math.min(burst, tokens + (now - filledAt) / NANOS * rate);
            filledAt = now;
        }
        return tokens >= wanted ? Optional.empty() : Optional.of(Duration.ofNanos((long) Math.ceil((wanted - tokens) / rate * NANOS)));
    }

    /** Takes what was used already, if need be below nothing. */
    synchronized void charge(double used) {
        tokens -= used;
    }

    /** Whether it is as full as it was when new. */
    synchronized boolean isFull(long now) {
        return tokens + Math.max(0, now - filledAt) / NANOS * rate >= burst;
    }
}
