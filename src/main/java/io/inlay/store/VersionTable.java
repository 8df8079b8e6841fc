package io.inlay.store;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The rows of versions. A version is reserved before its file is written and published after: what was cut short between the two is known
 * by its row, and is never visible. Locks are taken in the order tenant, version, alias.
 */
final class VersionTable {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String OF_VERSION = " where tenant = ? and base = ? and task = ? and number = ?";

    private final Database database;
    private final TenantTable tenants;

    VersionTable(Database database) {
        this.database = database;
        this.tenants = new TenantTable(database);
    }

    /** A version's file, by its digest and size, and what it says of itself. */
    record Content(String fileDigest, long bytes, DeltaManifest manifest) {
    }

    /** A row whose version is not, or no longer, to be seen. */
    record Hidden(String tenant, String base, String task, int number) {

        String key() {
            return DeltaVersion.key(tenant, base, task, number);
        }
    }

    // ---- a version's life ----

    /**
     * Gives out the task's next number, or a later one.
     *
     * @param atLeast numbers below it are known to be taken
     * @param quota where the tenant has none of its own
     * @throws Problem {@code STORAGE_FULL} by the quota, {@code CONFLICT} while the tenant is erased
     */
    DeltaVersion reserve(String tenant, String base, String task, int atLeast, Content content, Quota quota) {
        tenants.ensure(tenant);
        return database.transaction(each -> {
            TenantTable.Row locked = tenants.lockOpen(each, tenant);
            locked.quota().over(quota).require(locked.usage(), content.bytes());
            int number = Math.max(atLeast, each.query(row -> row.getInt(1), "select number from delta_version where tenant = ? and base = ? "
                    + "and task = ? order by number desc fetch first 1 rows only", tenant, base, task).stream().findFirst().orElse(0) + 1);
            insert(each, tenant, base, task, number, "publishing", content);
            TenantTable.count(each, tenant, 1, content.bytes());
            return version(tenant, base, task, number, content);
        });
    }

    /** Makes a reserved version visible. */
    void publish(DeltaVersion version) {
        int changed = database.update("update delta_version set state = 'published', changed_at = ?" + OF_VERSION
                + " and state = 'publishing'", now(), version.tenant(), version.base(), version.task(), version.number());
        if (changed != 1) {
            throw new Problem(Problem.Code.CONFLICT, version.model() + " took so long to write that it was collected meanwhile; try again");
        }
    }

    /** Takes a reservation back, so that its number can be given again. */
    void abandon(DeltaVersion version) {
        database.transaction(each -> {
            tenants.lock(each, version.tenant());
            if (each.update("delete from delta_version" + OF_VERSION + " and state = 'publishing'", version.tenant(), version.base(),
                    version.task(), version.number()) == 1) {
                TenantTable.count(each, version.tenant(), -1, -version.fileBytes());
            }
            return null;
        });
    }

    /** Takes in a file that has no row; returns whether there was none. */
    boolean adopt(String tenant, String base, String task, int number, Content content) {
        tenants.ensure(tenant);
        try {
            return database.transaction(each -> {
                tenants.lockOpen(each, tenant);
                insert(each, tenant, base, task, number, "published", content);
                TenantTable.count(each, tenant, 1, content.bytes());
                return true;
            });
        } catch (Problem there) {
            if (Database.isDuplicate(there)) {
                return false;
            }
            throw there;
        }
    }

    /** Notes that a number was given and is spent. */
    void spend(String tenant, String base, String task, int number) {
        database.insert("insert into delta_version (tenant, base, task, number, state, digest, file_digest, bytes, value_count, created_at,"
                + " changed_at) values (?, ?, ?, ?, 'gone', '', '', 0, 0, ?, ?)", tenant, base, task, number, now(), now());
    }

    /**
     * Makes a version invisible, for good.
     *
     * @throws Problem {@code CONFLICT} while an alias names it
     */
    boolean delete(DeltaVersion version) {
        return database.transaction(each -> {
            tenants.lock(each, version.tenant());
            Object[] key = {version.tenant(), version.base(), version.task(), version.number()};
            List<Long> bytes = each.query(row -> row.getLong(1), "select bytes from delta_version" + OF_VERSION
                    + " and state = 'published' for update", key);
            if (bytes.isEmpty()) {
                return false;
            }
            List<String> aliases = each.query(row -> row.getString(1), "select alias from delta_alias" + OF_VERSION + " order by alias", key);
            if (!aliases.isEmpty()) {
                throw new Problem(Problem.Code.CONFLICT, version.model() + " is what " + aliases + " names; move or remove the alias first");
            }
            each.update("update delta_version set state = 'deleted', manifest = null, note = null, changed_at = ?" + OF_VERSION, now(),
                    version.tenant(), version.base(), version.task(), version.number());
            each.update("delete from delta_tag" + OF_VERSION, key);
            TenantTable.count(each, version.tenant(), -1, -bytes.getFirst());
            return true;
        });
    }

    /** Notes that a deleted version's file is no longer there. */
    void gone(Hidden hidden) {
        database.update("update delta_version set state = 'gone', changed_at = ?" + OF_VERSION + " and state = 'deleted'", now(),
                hidden.tenant(), hidden.base(), hidden.task(), hidden.number());
    }

    /** Makes an unfinished version a deleted one, so that it can no longer be published; returns whether it still was unfinished. */
    boolean giveUp(Hidden hidden) {
        return database.transaction(each -> {
            tenants.lock(each, hidden.tenant());
            Object[] key = {hidden.tenant(), hidden.base(), hidden.task(), hidden.number()};
            List<Long> reserved = each.query(row -> row.getLong(1), "select bytes from delta_version" + OF_VERSION
                    + " and state = 'publishing' for update", key);
            if (reserved.isEmpty()) {
                return false;
            }
            TenantTable.count(each, hidden.tenant(), -1, -reserved.getFirst());
            return each.update("update delta_version set state = 'deleted', manifest = null" + OF_VERSION, key) == 1;
        });
    }

    /** Every task that has a published version. */
    List<Aliases.Task> tasks() {
        return database.query(row -> new Aliases.Task(row.getString(1), row.getString(2), row.getString(3)), "select distinct tenant, base, "
                + "task from delta_version where state = 'published'");
    }

    // ---- reading ----

    Optional<DeltaVersion> find(String tenant, String base, String task, int number) {
        return database.query(VersionTable::read, "select * from delta_version" + OF_VERSION + " and state = 'published'", tenant, base, task,
                number).stream().findFirst();
    }

    Optional<DeltaVersion> latest(String tenant, String base, String task) {
        return database.query(VersionTable::read, "select * from delta_version where tenant = ? and base = ? and task = ? and state = "
                + "'published' order by number desc fetch first 1 rows only", tenant, base, task).stream().findFirst();
    }

    Optional<DeltaVersion> ofJob(String tenant, String job) {
        return database.query(VersionTable::read, "select * from delta_version where tenant = ? and job = ? and state = 'published'",
                tenant, job).stream().findFirst();
    }

    /** Whether a number has a row, whatever its state. */
    boolean isKnown(String tenant, String base, String task, int number) {
        return !database.query(row -> row.getInt(1), "select 1 from delta_version" + OF_VERSION, tenant, base, task, number).isEmpty();
    }

    /** At most {@code limit} versions by base, task and number, behind one of them where that is given. */
    List<DeltaVersion> page(String tenant, VersionFilter filter, Optional<VersionPlace> after, int limit) {
        StringBuilder sql = new StringBuilder("select v.* from delta_version v where v.tenant = ? and v.state = 'published'");
        List<Object> arguments = new ArrayList<>(List.of(tenant));
        filter.base().ifPresent(base -> add(sql, arguments, " and v.base = ?", base));
        filter.task().ifPresent(task -> add(sql, arguments, " and v.task = ?", task));
        filter.tag().ifPresent(tag -> add(sql, arguments, " and exists (select 1 from delta_tag t where t.tenant = v.tenant and t.base = v.base"
                + " and t.task = v.task and t.number = v.number and t.tag = ?)", tag));
        filter.alias().ifPresent(alias -> add(sql, arguments, " and exists (select 1 from delta_alias a where a.tenant = v.tenant and a.base ="
                + " v.base and a.task = v.task and a.number = v.number and a.alias = ?)", alias));
        after.ifPresent(last -> add(sql, arguments, " and (v.base > ? or v.base = ? and (v.task > ? or v.task = ? and v.number > ?))",
                last.base(), last.base(), last.task(), last.task(), last.number()));
        sql.append(" order by v.base, v.task, v.number fetch first ").append(limit).append(" rows only");
        return database.query(VersionTable::read, sql.toString(), arguments.toArray());
    }

    private static void add(StringBuilder sql, List<Object> arguments, String condition, Object... values) {
        sql.append(condition);
        arguments.addAll(List.of(values));
    }

    /** Every published version of every tenant. */
    List<DeltaVersion> all() {
        return database.query(VersionTable::read, "select * from delta_version where state = 'published' order by tenant, base, task, number");
    }

    /** Keys of all files that have a row, whatever its state. */
    List<String> keys() {
        return database.query(row -> hidden(row).key(), "select tenant, base, task, number from delta_version");
    }

    /** Deleted and unfinished versions that changed no later than that. */
    List<Hidden> hidden(String state, long noLaterThan) {
        return database.query(VersionTable::hidden, "select tenant, base, task, number from delta_version where state = ? and changed_at <= ?",
                state, noLaterThan);
    }

    private static Hidden hidden(ResultSet row) throws SQLException {
        return new Hidden(row.getString("tenant"), row.getString("base"), row.getString("task"), row.getInt("number"));
    }

    // ---- rows ----

    private static void insert(Database.Transaction transaction, String tenant, String base, String task, int number, String state,
            Content content) throws SQLException {
        DeltaManifest manifest = content.manifest();
        transaction.update("insert into delta_version (tenant, base, task, number, state, digest, file_digest, bytes, value_count, job, "
                + "manifest, created_at, changed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", tenant, base, task, number, state,
                manifest.digest(), content.fileDigest(), content.bytes(), manifest.values(), manifest.job(), json(manifest), now(), now());
    }

    private static DeltaVersion version(String tenant, String base, String task, int number, Content content) {
        return new DeltaVersion(tenant, base, task, number, content.manifest().digest(), content.fileDigest(), content.bytes(),
                content.manifest());
    }

    private static DeltaVersion read(ResultSet row) throws SQLException {
        return new DeltaVersion(row.getString("tenant"), row.getString("base"), row.getString("task"), row.getInt("number"),
                row.getString("digest"), row.getString("file_digest"), row.getLong("bytes"), manifest(row.getString("manifest")));
    }

    private static String json(DeltaManifest manifest) {
        try {
            return JSON.writeValueAsString(manifest);
        } catch (JsonProcessingException impossible) {
            throw new AssertionError("a manifest is plain data", impossible);
        }
    }

    private static DeltaManifest manifest(String json) throws SQLException {
        try {
            return JSON.readValue(json, DeltaManifest.class);
        } catch (JsonProcessingException damaged) {
            throw new SQLException("a version's row holds what is no manifest", damaged);
        }
    }

    private static long now() {
        return System.currentTimeMillis();
    }
}
