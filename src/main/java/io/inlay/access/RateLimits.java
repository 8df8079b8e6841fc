package io.inlay.access;

import io.inlay.Problem;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.LongSupplier;

/** Requests that a tenant may send to this server: a token bucket each. */
public final class RateLimits {

    /** Buckets that are as full as new are forgotten beyond so many. */
    private static final int KEPT = 10_000;

    private final double rate;
    private final double burst;
    private final LongSupplier nanos;
    private final Map<String, TokenBucket> buckets = new ConcurrentHashMap<>();

    /**
     * @param rate requests a second; 0 for no limit
     * @param burst requests at once
     */
    public RateLimits(double rate, int burst, LongSupplier nanos) {
        if (!(rate >= 0) || Double.isInfinite(rate) || rate > 0 && burst < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.limits.requests-per-second is " + rate + " and inlay.limits.burst "
                    + burst + "; the first must be 0 (no limit) or more, the second at least 1");
        }
        this.rate = rate;
        this.burst = burst;
        this.nanos = nanos;
    }

    /** Counts a request; gives how long to wait where there are too many. */
    public Optional<Duration> take(String who) {
        if (rate == 0) {
            return Optional.empty();
        }
        long now = nanos.getAsLong();
        if (buckets.size() > KEPT) {
            buckets.values().removeIf(bucket -> bucket.isFull(now));
        }
        return buckets.computeIfAbsent(who, _ -> new TokenBucket(rate, burst, now)).take(now);
    }

    public double rate() {
        return rate;
    }
}
