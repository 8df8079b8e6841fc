package io.inlay.access;

import java.time.Instant;
import java.util.Locale;

/** One tenant. */
public record Tenant(String name, Status status, Instant createdAt, Instant changedAt) {

    /** What a tenant's keys are good for. */
    public enum Status {

        ACTIVE,

        /** Keys are known and refused, until the tenant is active again. */
        SUSPENDED,

        /** For good: keys are revoked, and the name is not given again. */
        DELETION_REQUESTED;

        public String wire() {
            return name().toLowerCase(Locale.ROOT);
        }

        static Status of(String wire) {
            return valueOf(wire.toUpperCase(Locale.ROOT));
        }
    }
}
