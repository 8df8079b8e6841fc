package io.inlay.access;

/**
 * A key at its birth, the one moment at which its text is there.
 *
 * @param text to be shown once, and kept nowhere
 */
public record IssuedKey(ApiKey facts, String text) {

    /** Without the text: whatever prints or logs an issued key by mistake tells nothing. */
    @Override
    public String toString() {
        return "IssuedKey[" + facts.id() + "]";
    }
}
