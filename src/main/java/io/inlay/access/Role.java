package io.inlay.access;

import io.inlay.Problem;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** What a key is for. */
public enum Role {

    /** The operator: tenants and keys, nothing of what tenants have. */
    ADMIN,

    /** All that a tenant can do. */
    OWNER,

    /** Looks and generates; changes nothing. */
    READER;

    public String wire() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * Of its name on the wire.
     *
     * @throws Problem {@code INVALID_REQUEST}
     */
    public static Role of(String wire) {
        return Arrays.stream(values()).filter(role -> role.wire().equals(wire)).findFirst().orElseThrow(() -> new Problem(
                Problem.Code.INVALID_REQUEST, "role is '" + wire + "'; it must be one of "
                + Arrays.stream(values()).map(Role::wire).collect(Collectors.joining(", "))));
    }
}
