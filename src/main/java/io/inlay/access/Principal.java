package io.inlay.access;

import java.util.Objects;
import java.util.Optional;

/**
 * Whose a key is.
 *
 * @param key id of the key, which is no secret
 * @param tenant empty for an operator's key, and only for that
 */
public record Principal(String key, Role role, Optional<String> tenant) {

    public Principal {
        Objects.requireNonNull(key);
        if (tenant.isEmpty() != (role == Role.ADMIN)) {
            throw new IllegalArgumentException("key " + key + " has the role " + role.wire() + " and tenant " + tenant);
        }
    }
}
