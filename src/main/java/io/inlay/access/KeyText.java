package io.inlay.access;

import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.regex.Pattern;

/** How a key that this server makes looks: {@code inlay_} and 256 random bits in hex. Programs that look for leaked secrets can find it. */
public final class KeyText {

    private static final String PREFIX = "inlay_";
    private static final int BYTES = 32;
    private static final SecureRandom RANDOM = new SecureRandom();

    /** Anything that may be a key or most of one. */
    private static final Pattern LIKE_A_KEY = Pattern.compile(PREFIX + "[0-9A-Fa-f]{16,}");

    private KeyText() {
    }

    static String make() {
        byte[] bits = new byte[BYTES];
        RANDOM.nextBytes(bits);
        return PREFIX + HexFormat.of().formatHex(bits);
    }

    /** A text for a log, with a key that somebody put where none belongs struck out. */
    public static String redacted(String text) {
        return LIKE_A_KEY.matcher(text).replaceAll(PREFIX + "(redacted)");
    }
}
