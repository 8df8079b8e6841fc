package io.inlay.store;

import io.inlay.Problem;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a version stands in its tenant's list, whether it is still there or not: pages begin behind one. */
public record VersionPlace(String base, String task, int number) {

    private static final Pattern NAME = Pattern.compile("([^:@]+):([^:@]+)@([1-9][0-9]{0,8})");

    /** Reads {@code base:task@number}. */
    public static VersionPlace parse(String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "after is '" + name + "'; give the id of the last item of the page before, "
                    + "base:task@version");
        }
        return new VersionPlace(parts.group(1), parts.group(2), Integer.parseInt(parts.group(3)));
    }
}
