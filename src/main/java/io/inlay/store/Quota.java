package io.inlay.store;

import io.inlay.Problem;

/**
 * The most that one tenant may store; 0 is no bound. The server has one for all who have none of their own.
 *
 * @param bytes of all its versions' files together
 * @param versions of all its tasks together
 */
public record Quota(long bytes, long versions) {

    public static final Quota NONE = new Quota(0, 0);

    public Quota {
        if (bytes < 0 || versions < 0) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "a quota of " + bytes + " bytes and " + versions
                    + " versions is negative; give 0 for no bound");
        }
    }

    /** Refuses one more version of a file of that size. */
    void require(Usage usage, long more) {
        if (versions > 0 && usage.versions() + 1 > versions) {
            throw exceeded("has " + usage.versions() + " versions", versions + " versions");
        }
        if (bytes > 0 && usage.bytes() + more > bytes) {
            throw exceeded("stores " + usage.bytes() + " bytes, and this version has " + more, bytes + " bytes");
        }
    }

    private static Problem exceeded(String has, String allowed) {
        return new Problem(Problem.Code.STORAGE_FULL, "the tenant " + has + "; its quota is " + allowed
                + ": delete versions (DELETE /v1/deltas/{version}), or ask the server's operator for more");
    }
}
