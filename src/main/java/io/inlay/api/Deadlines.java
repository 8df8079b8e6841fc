package io.inlay.api;

import io.inlay.Problem;
import io.inlay.generation.Generation;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Locale;

/**
 * How long an answer may take, from when its request was taken to its last token.
 *
 * @param longest the server's; zero for none
 */
public record Deadlines(Duration longest) {

    /** Seconds after which the client has no more use for the answer. */
    static final String HEADER = "Inlay-Deadline";

    private static final BigDecimal MOST_SECONDS = BigDecimal.valueOf(1_000_000_000);

    public Deadlines {
        if (longest.isNegative()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.generation.deadline-seconds is " + longest.toSeconds()
                    + "; it must be 0 (none) or more");
        }
    }

    /** Nanoseconds that a request with this header, or null for none, may take; 0 for any. */
    long nanos(String header) {
        if (header == null) {
            return longest.toNanos();
        }
        try {
            BigDecimal seconds = new BigDecimal(header.strip());
            if (seconds.signum() > 0 && seconds.compareTo(MOST_SECONDS) <= 0) {
                long own = Math.max(1, seconds.movePointRight(9).longValue());
                return longest.isZero() ? own : Math.min(own, longest.toNanos());
            }
        } catch (NumberFormatException none) {
            // Refused below.
        }
        throw new Problem(Problem.Code.INVALID_REQUEST, "the header " + HEADER + " is no number of seconds over 0; send 2.5, for example");
    }

    /** What a request is told that is over its deadline. */
    Problem over(long nanos, Generation.Phases phases, int drawn) {
        String where = phases.begun() == 0 ? "it was still waiting for a place" : phases.opened() == 0 ? "its delta was still being loaded"
                : drawn == 0 ? "its prompt was being taken in" : drawn + " tokens had been drawn";
        return new Problem(Problem.Code.DEADLINE_EXCEEDED, String.format(Locale.ROOT,
                "the answer was not there within %.3f s, the least of "
                + "the header %s and inlay.generation.deadline-seconds: %s; ask for fewer tokens, or again later", nanos / 1e9, HEADER,
                where));
    }
}
