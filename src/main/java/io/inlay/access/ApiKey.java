package io.inlay.access;

import java.time.Instant;
import java.util.Optional;

/**
 * What is known of a key: everything but the key.
 *
 * @param tenant empty for an operator's
 * @param label what people call it
 * @param lastUsedAt to the minute
 */
public record ApiKey(String id, Optional<String> tenant, Role role, String label, Instant createdAt, Optional<Instant> expiresAt,
        Optional<Instant> revokedAt, Optional<Instant> lastUsedAt) {

    public boolean worksAt(Instant time) {
        return revokedAt.isEmpty() && expiresAt.map(time::isBefore).orElse(true);
    }
}
