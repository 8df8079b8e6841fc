package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.util.Optional;

/**
 * A tuning job as the database has it.
 *
 * @param attempt runs that have begun
 * @param resumes how often it was queued anew after a pause
 * @param report is there once a version was published
 */
public record TuningJob(String id, String tenant, JobRequest request, JobState state, Instant createdAt, boolean cancelRequested,
        boolean pauseRequested, int attempt, int resumes, Optional<JsonNode> report) {

    /** Whether there may be values to publish when it is cancelled: it has run, and was to keep its best. */
    boolean mayHaveBest() {
        return attempt > 0 && keepsBest();
    }

    /** Whether it keeps the values of its best evaluation. */
    boolean keepsBest() {
        return request.hyperparameters().path("keep_best").asBoolean();
    }
}
