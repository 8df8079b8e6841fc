package io.inlay.store;

import io.inlay.Problem;
import java.util.List;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;

/** What people write on versions: tags to find them by, and a note. */
public final class Annotations {

    /** Longest note, in characters. */
    public static final int MAX_NOTE = 4096;

    /** Most tags of one version. */
    public static final int MAX_TAGS = 64;

    private static final String OF_VERSION = " where tenant = ? and base = ? and task = ? and number = ?";

    private final Database database;

    Annotations(Database database) {
        this.database = database;
    }

    public SortedSet<String> tags(DeltaVersion version) {
        return new TreeSet<>(database.query(row -> row.getString(1), "select tag from delta_tag" + OF_VERSION, key(version)));
    }

    public Optional<String> note(DeltaVersion version) {
        return database.query(row -> Optional.ofNullable(row.getString(1)), "select note from delta_version" + OF_VERSION, key(version)).stream()
                .findFirst().flatMap(note -> note);
    }

    /** Puts these tags in the place of all that there are. */
    public void tag(DeltaVersion version, List<String> tags) {
        if (tags.size() > MAX_TAGS) {
            throw new Problem(Problem.Code.INVALID_REQUEST, tags.size() + " tags were given; a version has at most " + MAX_TAGS);
        }
        tags.forEach(tag -> Names.require("tag", tag));
        database.transaction(each -> {
            if (each.query(row -> 1, "select 1 from delta_version" + OF_VERSION + " and state = 'published' for update", key(version)).isEmpty()) {
                throw gone(version);
            }
            each.update("delete from delta_tag" + OF_VERSION, key(version));
            for (String tag : new TreeSet<>(tags)) {
                each.update("insert into delta_tag (tenant, base, task, number, tag) values (?, ?, ?, ?, ?)", version.tenant(),
                        version.base(), version.task(), version.number(), tag);
            }
            return null;
        });
    }

    /** Writes a note in the place of the one before; an empty one removes it. */
    public void note(DeltaVersion version, String note) {
        if (note.length() > MAX_NOTE) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "the note has " + note.length() + " characters; at most " + MAX_NOTE + " are kept");
        }
        if (database.update("update delta_version set note = ?" + OF_VERSION + " and state = 'published'", note.isEmpty() ? null : note,
                version.tenant(), version.base(), version.task(), version.number()) == 0) {
            throw gone(version);
        }
    }

    private static Problem gone(DeltaVersion version) {
        return new Problem(Problem.Code.NOT_FOUND, version.model() + " is no longer there");
    }

    private static Object[] key(DeltaVersion version) {
        return new Object[] {version.tenant(), version.base(), version.task(), version.number()};
    }
}
