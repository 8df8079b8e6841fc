package io.inlay.jobs;

import java.time.Instant;
import java.util.Optional;

/** Where a tuning job stands. */
public sealed interface JobState {

    /** As it travels in JSON, OpenAI's words. */
    default String wire() {
        return switch (this) {
            case Queued _ -> "queued";
            case Running _ -> "running";
            case Paused _ -> "paused";
            case Succeeded _ -> "succeeded";
            case Failed _ -> "failed";
            case Cancelled _ -> "cancelled";
        };
    }

    /** Whether nothing more will happen. */
    default boolean ended() {
        return switch (this) {
            case Queued _, Running _, Paused _ -> false;
            case Succeeded _, Failed _, Cancelled _ -> true;
        };
    }

    /** What the job has left in the store. */
    default Optional<Tuned> tuned() {
        return switch (this) {
            case Queued _, Running _, Paused _, Failed _ -> Optional.empty();
            case Succeeded done -> Optional.of(new Tuned(done.model(), done.trainedTokens()));
            case Cancelled cancelled -> cancelled.best();
        };
    }

    /**
     * A version that a job has left.
     *
     * @param model that answers, {@code base:task@number}
     * @param trainedTokens that went through training
     */
    record Tuned(String model, long trainedTokens) {
    }

    record Queued() implements JobState {
    }

    /** {@code attempt} counts from 1; more than 1 after a pause, a stop or a crash. */
    record Running(int attempt, Instant since) implements JobState {
    }

    /** Until somebody resumes it, over any number of the server's starts. */
    record Paused() implements JobState {
    }

    /**
     * @param model the version that answers, {@code base:task@number}
     * @param trainedTokens that went through training
     */
    record Succeeded(Instant at, String model, long trainedTokens) implements JobState {
    }

    record Failed(Instant at, String code, String message) implements JobState {
    }

    /** {@code best} is there when the best evaluation's values had been kept, and were published. */
    record Cancelled(Instant at, Optional<Tuned> best) implements JobState {
    }
}
