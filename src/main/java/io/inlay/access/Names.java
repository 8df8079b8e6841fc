package io.inlay.access;

import io.inlay.Problem;
import java.util.regex.Pattern;

/**
 * Names of tenants, and what may stand where a path or a body names something. ASCII alone: no look-alike of a name is a name, and no name
 * is more than itself in a path, a log or a query.
 */
public final class Names {

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");

    /** Ids, models ({@code base:task@version}) and names; long enough for all of them. */
    private static final Pattern REFERENCE = Pattern.compile("[!-~]{1,256}");

    private Names() {
    }

    /**
     * Returns the name.
     *
     * @param what it names, for the message
     * @throws Problem {@code INVALID_REQUEST}
     */
    public static String require(String what, String name) {
        if (name == null || !NAME.matcher(name).matches()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, what + " name '" + shown(name)
                    + "' is not allowed; use letters, digits, '.', '_' and '-', 64 at most, beginning with a letter or digit");
        }
        return name;
    }

    /** Whether a text can be the id or name of anything that this server keeps: visible ASCII, and not longer than any. */
    public static boolean canRefer(String text) {
        return text != null && REFERENCE.matcher(text).matches();
    }

    /** A text that somebody else chose, as a message or a log may show it: no control characters, and not much of it. */
    public static String shown(String text) {
        if (text == null) {
            return "";
        }
        String plain = text.replaceAll("[^ -~]", "?");
        return plain.length() <= 80 ? plain : plain.substring(0, 80) + "...";
    }
}
