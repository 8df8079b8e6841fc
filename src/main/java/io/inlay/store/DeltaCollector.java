package io.inlay.store;

import io.inlay.Problem;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
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
    private final Erasures erasures;
    private final Consumer<String> erased;
    private final Duration grace;

    /**
     * @param erased is told of each tenant whose versions were erased
     */
    DeltaCollector(Blobs blobs, VersionTable versions, Aliases aliases, Leases leases, Erasures erasures, Consumer<String> erased,
            Duration grace) {
        this.blobs = blobs;
        this.versions = versions;
        this.aliases = aliases;
        this.leases = leases;
        this.erasures = erasures;
        this.erased = erased;
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

    /**
     * Removes every version, alias, tag and lease of a tenant, which may then publish anew. Nothing is published meanwhile. Where it is
     * cut short, {@link #finishErasures} or another call finishes it, and gives the same receipt.
     */
    public Receipt erase(String tenant) {
        return erase(Names.require("tenant", tenant), false);
    }

    /** The same for a tenant that is to publish nothing any more. A second time gives the receipt of the first. */
    public Receipt eraseForGood(String tenant) {
        return erase(Names.require("tenant", tenant), true);
    }

    /** The receipt of a tenant's last erasure; empty where there was none, or it is under way. */
    public Optional<Receipt> receipt(String tenant) {
        return erasures.find(tenant).flatMap(Erasures.Erasure::receipt);
    }

    /** Finishes what a process began that has died. */
    public void finishErasures() {
        erasures.unfinished().forEach(tenant -> erase(tenant, false));
    }

    private Receipt erase(String tenant, boolean forGood) {
        Optional<Receipt> before = erasures.begin(tenant, forGood).receipt();
        if (before.isPresent()) {
            return before.get();
        }
        for (Blobs.Blob blob : blobs.list(tenant + "/")) {
            erasures.during(tenant, () -> blobs.delete(blob.key()));
        }
        leases.forget(tenant);
        erased.accept(tenant);
        return erasures.end(tenant).receipt().orElseThrow();
    }
}
