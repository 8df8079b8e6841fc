package io.inlay.tuning;

import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;

/**
 * Leaves the processor to others while they work: after a piece that took t it waits for {@code t (1 - share) / share}, so that the run
 * has its share of the time and no more, or until the others have ended. A run alone never waits; one beside others never stops for good.
 * One a run: its pieces are those between two calls.
 */
public final class YieldingPace implements Pace {

    /** How long others may have ended, or a cancellation been asked for, unnoticed. */
    private static final long LOOK_NANOS = 2_000_000;

    private final BooleanSupplier others;
    private final double share;
    private final LongSupplier clock;
    private final Sleep sleep;
    private long begun;
    private boolean first = true;

    /** Sleeps for some nanoseconds; false when it was interrupted. */
    interface Sleep {
        boolean of(long nanos);
    }

    /**
     * @param others whether somebody else is at work who goes first
     * @param share of the time that the run may take meanwhile, over 0 and at most 1
     */
    public YieldingPace(BooleanSupplier others, double share) {
        this(others, share, System::nanoTime, YieldingPace::sleep);
    }

    YieldingPace(BooleanSupplier others, double share, LongSupplier clock, Sleep sleep) {
        if (!(share > 0 && share <= 1)) {
            throw new IllegalArgumentException("a share of " + share + " of the time; it is over 0 and at most 1");
        }
        this.others = others;
        this.share = share;
        this.clock = clock;
        this.sleep = sleep;
    }

    @Override
    public void await(BooleanSupplier cancelled) {
        long now = clock.getAsLong();
        double owed = first ? 0 : (now - begun) * (1 - share) / share;
        first = false;
        long until = now + (long) Math.min(owed, Long.MAX_VALUE / 4.0);
        while (until - now > 0 && others.getAsBoolean() && !cancelled.getAsBoolean()) {
            if (!sleep.of(Math.min(LOOK_NANOS, until - now))) {
                break;
            }
            now = clock.getAsLong();
        }
        begun = clock.getAsLong();
    }

    private static boolean sleep(long nanos) {
        try {
            Thread.sleep(nanos / 1_000_000, (int) (nanos % 1_000_000));
            return true;
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
