package io.inlay.jobs;

import java.time.Instant;

/** Where a tuning job stands. */
public sealed interface JobState {

    /** As it travels in JSON, OpenAI's words. */
    default String wire() {
        return switch (this) {
            case Queued _ -> "queued";
            case Running _ -> "running";
            case Succeeded _ -> "succeeded";
            case Failed _ -> "failed";
            case Cancelled _ -> "cancelled";
        };
    }

    /** Whether nothing more will happen. */
    default boolean ended() {
        return switch (this) {
            case Queued _, Running _ -> false;
            case Succeeded _, Failed _, Cancelled _ -> true;
        };
    }

    record Queued() implements JobState {
    }

    /** {@code attempt} counts from 1; more than 1 after a crash. */
    record Running(int attempt, Instant since) implements JobState {
    }

    /**
     * @param model the version that answers, {@code base:task@number}
     * @param trainedTokens that went through training
     */
    record Succeeded(Instant at, String model, long trainedTokens) implements JobState {
    }

    record Failed(Instant at, String code, String message) implements JobState {
    }

    record Cancelled(Instant at) implements JobState {
    }
}
