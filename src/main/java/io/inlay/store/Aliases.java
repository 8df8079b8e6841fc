package io.inlay.store;

import io.inlay.Problem;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Movable names of versions: {@code base:task@production}. Every change is one transaction with the line of history that tells of it, so
 * that all changes of an alias happen one after another, and whoever names the version that he expects is not overtaken.
 */
public final class Aliases {

    private static final String OF_ALIAS = " where tenant = ? and base = ? and task = ? and alias = ?";

    private final Database database;

    Aliases(Database database) {
        this.database = database;
    }

    /** An alias and the version that it names; revisions count its changes from 1. */
    public record Alias(String base, String task, String name, int number, int revision, long changedAt) {
    }

    /** What a change was. */
    public enum Kind {
        MOVE,
        ROLLBACK,
        REMOVE
    }

    /** One change in an alias's history; empty is where the alias was not there. */
    public record Move(int revision, Kind kind, OptionalInt from, OptionalInt to, long madeAt) {
    }

    private record State(OptionalInt number, int revision) {
    }

    /** One task of one tenant. */
    public record Task(String tenant, String base, String name) {

        public Task {
            Names.require("tenant", tenant);
            Names.require("base model", base);
            Names.require("task", name);
        }
    }

    public Optional<Alias> find(Task task, String alias) {
        return database.query(Aliases::alias, "select * from delta_alias" + OF_ALIAS + " and number is not null", task.tenant(), task.base(),
                task.name(), alias).stream().findFirst();
    }

    public List<Alias> list(Task task) {
        return database.query(Aliases::alias, "select * from delta_alias where tenant = ? and base = ? and task = ? and number is not null "
                + "order by alias", task.tenant(), task.base(), task.name());
    }

    /** Names of a version. */
    public List<String> of(DeltaVersion version) {
        return database.query(row -> row.getString(1), "select alias from delta_alias where tenant = ? and base = ? and task = ? and number = ?"
                + " order by alias", version.tenant(), version.base(), version.task(), version.number());
    }

    /** All changes, the first one first. */
    public List<Move> history(Task task, String alias) {
        return database.transaction(each -> history(each, task, alias));
    }

    private static List<Move> history(Database.Transaction transaction, Task task, String alias) throws SQLException {
        return transaction.query(row -> new Move(row.getInt("revision"), Kind.valueOf(row.getString("kind")), number(row, "from_number"),
                number(row, "to_number"), row.getLong("made_at")), "select * from delta_alias_move" + OF_ALIAS + " order by revision",
                task.tenant(), task.base(), task.name(), alias);
    }

    /**
     * Makes the alias name a version.
     *
     * @param expected the version that it must name now, 0 for none; empty to move it wherever it is
     * @throws Problem {@code CONFLICT} when it names another, {@code NOT_FOUND} when there is no such version
     */
    public Alias move(Task task, String alias, int number, OptionalInt expected) {
        Names.requireAlias(alias);
        return repeat(() -> database.transaction(each -> {
            requireVersion(each, task, number);
            State state = lock(each, task, alias);
            requireExpected(task, alias, state, expected);
            return change(each, task, alias, state, Kind.MOVE, OptionalInt.of(number));
        }));
    }

    /**
     * Takes the last move back that was not yet taken back.
     *
     * @throws Problem {@code CONFLICT} when there is none, or the version before is deleted
     */
    public Alias rollback(Task task, String alias, OptionalInt expected) {
        return repeat(() -> database.transaction(each -> {
            OptionalInt seen = previous(history(each, task, alias));
            if (seen.isEmpty()) {
                throw new Problem(Problem.Code.CONFLICT, name(task, alias) + " has named no other version before; there is nothing to go back to");
            }
            requireVersion(each, task, seen.getAsInt());
            State state = lock(each, task, alias);
            requireExpected(task, alias, state, expected);
            if (!previous(history(each, task, alias)).equals(seen)) {
                throw new Problem(Problem.Code.CONFLICT, name(task, alias) + " was moved meanwhile; look again");
            }
            return change(each, task, alias, state, Kind.ROLLBACK, seen);
        }));
    }

    /** Where the alias was before what it names now, by history as a stack: a rollback takes a move off it. */
    private static OptionalInt previous(List<Move> history) {
        Deque<Integer> stack = new ArrayDeque<>();
        for (Move move : history) {
            switch (move.kind()) {
                case MOVE -> stack.push(move.to().getAsInt());
                case ROLLBACK -> stack.pop();
                case REMOVE -> stack.clear();
            }
        }
        return stack.size() < 2 ? OptionalInt.empty() : stack.stream().skip(1).mapToInt(Integer::intValue).findFirst();
    }

    /** Removes an alias; its history stays. Returns whether it was there. */
    public boolean remove(Task task, String alias, OptionalInt expected) {
        return database.transaction(each -> {
            State state = lock(each, task, alias);
            requireExpected(task, alias, state, expected);
            if (state.number().isEmpty()) {
                return false;
            }
            change(each, task, alias, state, Kind.REMOVE, OptionalInt.empty());
            return true;
        });
    }

    private static void requireVersion(Database.Transaction transaction, Task task, int number) throws SQLException {
        if (transaction.query(row -> 1, "select 1 from delta_version where tenant = ? and base = ? and task = ? and number = ? and state = "
                + "'published' for update", task.tenant(), task.base(), task.name(), number).isEmpty()) {
            throw new Problem(Problem.Code.NOT_FOUND, "there is no version " + task.base() + ":" + task.name() + "@" + number
                    + "; GET /v1/deltas lists those that are there");
        }
    }

    private static void requireExpected(Task task, String alias, State state, OptionalInt expected) {
        if (expected.isPresent() && expected.getAsInt() != state.number().orElse(0)) {
            throw new Problem(Problem.Code.CONFLICT, name(task, alias) + " names " + (state.number().isPresent()
                    ? "version " + state.number().getAsInt() : "no version") + ", not " + (expected.getAsInt() == 0 ? "none"
                    : expected.getAsInt()) + " as expected; look again before moving it");
        }
    }

    private static State lock(Database.Transaction transaction, Task task, String alias) throws SQLException {
        return transaction.query(row -> new State(number(row, "number"), row.getInt("revision")), "select number, revision from delta_alias"
                + OF_ALIAS + " for update", task.tenant(), task.base(), task.name(), alias).stream().findFirst()
                .orElse(new State(OptionalInt.empty(), 0));
    }

    private static Alias change(Database.Transaction transaction, Task task, String alias, State state, Kind kind, OptionalInt to)
            throws SQLException {
        long now = System.currentTimeMillis();
        int revision = state.revision() + 1;
        Integer number = to.isPresent() ? to.getAsInt() : null;
        if (state.revision() == 0) {
            transaction.update("insert into delta_alias (tenant, base, task, alias, number, revision, changed_at) values (?, ?, ?, ?, ?, ?, ?)",
                    task.tenant(), task.base(), task.name(), alias, number, revision, now);
        } else {
            transaction.update("update delta_alias set number = ?, revision = ?, changed_at = ?" + OF_ALIAS, number, revision, now,
                    task.tenant(), task.base(), task.name(), alias);
        }
        transaction.update("insert into delta_alias_move (tenant, base, task, alias, revision, kind, from_number, to_number, made_at) values "
                + "(?, ?, ?, ?, ?, ?, ?, ?, ?)", task.tenant(), task.base(), task.name(), alias, revision, kind.name(),
                state.number().isPresent() ? state.number().getAsInt() : null, number, now);
        return new Alias(task.base(), task.name(), alias, to.orElse(0), revision, now);
    }

    private interface Attempt {
        Alias make();
    }

    /** Two who make the same alias at the same time: the second one's row is there already, and he looks again. */
    private static Alias repeat(Attempt attempt) {
        try {
            return attempt.make();
        } catch (Problem failure) {
            if (Database.isDuplicate(failure)) {
                return attempt.make();
            }
            throw failure;
        }
    }

    private static String name(Task task, String alias) {
        return task.base() + ":" + task.name() + "@" + alias;
    }

    private static OptionalInt number(ResultSet row, String column) throws SQLException {
        int number = row.getInt(column);
        return row.wasNull() ? OptionalInt.empty() : OptionalInt.of(number);
    }

    private static Alias alias(ResultSet row) throws SQLException {
        return new Alias(row.getString("base"), row.getString("task"), row.getString("alias"), row.getInt("number"), row.getInt("revision"),
                row.getLong("changed_at"));
    }
}
