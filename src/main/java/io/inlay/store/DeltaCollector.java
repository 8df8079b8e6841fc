package io.inlay.store;

import io.inlay.Problem;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Removes what is no longer wanted: files of deleted versions, what publishers left that were cut short, versions beyond a task's newest,
 * and all of a tenant. Rows are the marks: nothing is swept whose row does not say so. A leased version's file stays.
 */
public final class DeltaCollector {

    private static final Logger LOG = LoggerFactory.getLogger(DeltaCollector.class);

    private final Blobs blobs;
    private final VersionTable versions;
    private final Aliases aliases;
    private final Leases leases;
    private final Duration grace;

    DeltaCollector(Blobs blobs, VersionTable versions, Aliases aliases, Leases leases, Duration grace) {
        this.blobs = blobs;
        this.versions = versions;
        this.aliases = aliases;
        this.leases = leases;
        this.grace = grace;
    }

    /**
     * What a collection removed.
     *
     * @param files of deleted and unfinished versions
     * @param unfinished publications that were cut short
     * @param temporary files
     */
    public record Collected(int files, int unfinished, int temporary) {
    }

    /**
     * The proof of an erasure.
     *
     * @param fileDigests of every file that was removed, in the order of its version
     */
    public record Receipt(String tenant, int versions, long bytes, List<String> fileDigests, Instant erasedAt) {
    }

    /** Sweeps what has been unwanted for longer than the grace period. */
    public Collected collect() {
        leases.removeExpired();
        long before = System.currentTimeMillis() - grace.toMillis();
        int unfinished = 0;
        for (VersionTable.Hidden hidden : versions.hidden("publishing", before)) {
            unfinished += versions.giveUp(hidden) ? 1 : 0;
        }
        int files = 0;
        for (VersionTable.Hidden hidden : versions.hidden("deleted", before)) {
            if (!leases.isLeased(hidden.tenant(), hidden.base(), hidden.task(), hidden.number())) {
                files += blobs.delete(hidden.key()) ? 1 : 0;
                versions.gone(hidden);
            }
        }
        Collected collected = new Collected(files, unfinished, blobs.sweep(grace));
        if (files + unfinished + collected.temporary() > 0) {
            LOG.info("collected {}", collected);
        }
        return collected;
    }

    /**
     * Deletes the versions of a task but its newest, those with an alias and those in use.
     *
     * @return what was deleted
     */
    public List<DeltaVersion> retain(Aliases.Task task, int newest) {
        if (newest < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "keep_last is " + newest + "; at least 1 version of a task is kept");
        }
        List<DeltaVersion> all = versions.page(task.tenant(), new VersionFilter(Optional.of(task.base()), Optional.of(task.name()),
                Optional.empty(), Optional.empty()), Optional.empty(), Integer.MAX_VALUE);
        List<DeltaVersion> deleted = new ArrayList<>();
        for (DeltaVersion version : all.subList(0, Math.max(0, all.size() - newest))) {
            if (aliases.of(version).isEmpty() && !leases.isLeased(version.tenant(), version.base(), version.task(), version.number())
                    && deleteUnlessNamed(version)) {
                deleted.add(version);
            }
        }
        return deleted;
    }

    private boolean deleteUnlessNamed(DeltaVersion version) {
        try {
            return versions.delete(version);
        } catch (Problem named) {
            if (named.code() == Problem.Code.CONFLICT) {
                return false;
            }
            throw named;
        }
    }

    /** Deletes old versions of every task; the tasks' newest stay. */
    public int retainEverywhere(int newest) {
        return versions.tasks().stream().mapToInt(task -> retain(task, newest).size()).sum();
    }

    /** Removes every version, alias, tag and lease of a tenant, at once and for good. */
    public Receipt erase(String tenant) {
        List<VersionTable.Erased> erased = versions.erase(Names.require("tenant", tenant));
        for (Blobs.Blob blob : blobs.list(tenant + "/")) {
            blobs.delete(blob.key());
        }
        versions.forget(tenant);
        return new Receipt(tenant, erased.size(), erased.stream().mapToLong(VersionTable.Erased::bytes).sum(),
                erased.stream().map(VersionTable.Erased::fileDigest).toList(), Instant.now());
    }
}
