package io.inlay.store;

import io.inlay.Problem;
import java.util.OptionalLong;

/**
 * What the operator gives one tenant in the place of the server's {@link Quota}; empty where that holds, 0 for no bound.
 *
 * @param bytes of all its versions' files together
 * @param versions of all its tasks together
 */
public record OwnQuota(OptionalLong bytes, OptionalLong versions) {

    /** The server's quota holds. */
    public static final OwnQuota NONE = new OwnQuota(OptionalLong.empty(), OptionalLong.empty());

    /**
     * Checks the bounds.
     *
     * @throws Problem {@code INVALID_REQUEST} for a negative one
     */
    public OwnQuota {
        new Quota(bytes.orElse(0), versions.orElse(0));
    }

    Quota over(Quota otherwise) {
        return new Quota(bytes.orElse(otherwise.bytes()), versions.orElse(otherwise.versions()));
    }
}
