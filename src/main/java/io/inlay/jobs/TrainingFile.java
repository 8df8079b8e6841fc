package io.inlay.jobs;

import java.time.Instant;

/** An uploaded file of a tenant's; {@code digest} is {@code sha256:...} of its content. */
public record TrainingFile(String id, String tenant, String name, String purpose, long bytes, String digest, Instant createdAt) {
}
