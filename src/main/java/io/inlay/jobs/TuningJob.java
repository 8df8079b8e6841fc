package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.util.Optional;

/** A tuning job as the database has it; {@code report} is there once it has succeeded. */
public record TuningJob(String id, String tenant, JobRequest request, JobState state, Instant createdAt, boolean cancelRequested,
        int attempt, Optional<JsonNode> report) {
}
