package io.inlay.store;

import io.inlay.Problem;
import java.util.regex.Pattern;

/** The names that tenants, base models, tasks, aliases and tags may have: none of them can be a path, or become one. */
final class Names {

    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}");

    private Names() {
    }

    static boolean isName(String name) {
        return name != null && NAME.matcher(name).matches();
    }

    static String require(String what, String name) {
        if (!isName(name)) {
            throw new Problem(Problem.Code.INVALID_REQUEST, what + " name '" + name + "' is not allowed; use letters, digits, '.', '_' and "
                    + "'-', 64 at most, beginning with a letter or digit");
        }
        return name;
    }

    /** An alias stands where a version's number can, so it must not look like one. */
    static String requireAlias(String name) {
        require("alias", name);
        if (name.chars().allMatch(Character::isDigit) || name.equals("latest")) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "alias name '" + name + "' is not allowed; a number names a version, and latest is "
                    + "what a task's name alone means");
        }
        return name;
    }
}
