package io.inlay.jobs;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Instant;
import java.util.Optional;

/**
 * One line of a job's history.
 *
 * @param number counts from 1 in its job
 * @param level {@code info}, {@code warn} or {@code error}
 * @param kind {@code message}, or {@code metrics} with figures in {@code data}
 */
public record JobEvent(String job, int number, Instant createdAt, String level, String kind, String message, Optional<JsonNode> data) {

    public String id() {
        return job.replace("ftjob-", "ftevent-") + "-" + number;
    }
}
