package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.BaseMatrices;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.LongStream;
import javax.sql.DataSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Versions as blobs and rows. To publish is three steps, each durable before the next: the row is reserved (a number, and a place in the
 * tenant's quota), the blob is written, the row is published. Whatever stops a publisher leaves a version whole or not visible at all;
 * what it leaves behind is collected. Blobs without any row are of a store that had no database yet, or has lost it, and are taken in.
 */
public final class DeltaRegistry implements DeltaStore {

    private static final Logger LOG = LoggerFactory.getLogger(DeltaRegistry.class);
    private static final Pattern KEY = Pattern.compile("([^/]+)/([^/]+)/([^/]+)/([1-9][0-9]{0,8})\\.(safetensors|deleted)");

    private static final Pattern NAME = Pattern.compile("([^:@]+):([^:@]+)(?:@(?:([1-9][0-9]{0,8})|([^:@]+)))?");

    private final Blobs blobs;
    private final VersionTable versions;
    private final TenantTable tenants;
    private final Aliases aliases;
    private final Leases leases;
    private final Annotations annotations;
    private final Erasures erasures;
    private final Quota quota;
    private final List<Consumer<String>> erasureListeners = new CopyOnWriteArrayList<>();

    /** A registry without quotas, whose leases hold for ten minutes. */
    public DeltaRegistry(Blobs blobs, DataSource source) {
        this(blobs, source, Quota.NONE, Duration.ofMinutes(10));
    }

    public DeltaRegistry(Blobs blobs, DataSource source, Quota quota, Duration leaseTerm) {
        Database database = new Database(source);
        this.blobs = blobs;
        this.versions = new VersionTable(database);
        this.tenants = new TenantTable(database);
        this.aliases = new Aliases(database);
        this.leases = new Leases(database, UUID.randomUUID().toString(), leaseTerm);
        this.annotations = new Annotations(database);
        this.erasures = new Erasures(database);
        this.quota = quota;
        takeIn();
    }

    public Aliases aliases() {
        return aliases;
    }

    public Annotations annotations() {
        return annotations;
    }

    /** What removes from this registry. */
    public DeltaCollector collector(Duration grace) {
        return new DeltaCollector(blobs, versions, aliases, leases, erasures,
                tenant -> erasureListeners.forEach(each -> each.accept(tenant)), grace);
    }

    @Override
    public void onErasure(Consumer<String> listener) {
        erasureListeners.add(listener);
    }

    // ---- taking in ----

    /** Gives every blob without a row its row. */
    private void takeIn() {
        Set<String> known = new HashSet<>(versions.keys());
        int taken = 0;
        for (Blobs.Blob blob : blobs.list("")) {
            Matcher key = KEY.matcher(blob.key());
            if (!known.contains(blob.key()) && isOurs(key)) {
                try {
                    taken += takeIn(key) ? 1 : 0;
                } catch (Problem damaged) {
                    LOG.error("not taken in: {}", damaged.getMessage());
                }
            }
        }
        if (taken > 0) {
            LOG.info("took in {} versions that the database did not know", taken);
        }
    }

    private static boolean isOurs(Matcher key) {
        return key.matches() && Names.isName(key.group(1)) && Names.isName(key.group(2)) && Names.isName(key.group(3));
    }

    private boolean takeIn(Matcher key) {
        String tenant = key.group(1);
        String base = key.group(2);
        String task = key.group(3);
        int number = Integer.parseInt(key.group(4));
        if (key.group(5).equals("deleted")) {
            versions.spend(tenant, base, task, number);
            return false;
        }
        try (Arena arena = Arena.ofShared()) {
            Optional<MemorySegment> file = blobs.read(key.group(), Optional.empty(), arena);
            return file.isPresent() && versions.adopt(tenant, base, task, number, new VersionTable.Content(Sha256.of(file.get()),
                    file.get().byteSize(), DeltaFile.manifest(file.get(), key.group())));
        }
    }

    /** A file that was put into the store while the server runs is taken in when it is asked for. */
    private void takeIn(String tenant, String base, String task, OptionalInt number) {
        for (Blobs.Blob blob : blobs.list(tenant + "/" + base + "/" + task + "/")) {
            Matcher key = KEY.matcher(blob.key());
            if (isOurs(key) && (number.isEmpty() || number.getAsInt() == Integer.parseInt(key.group(4)))
                    && !versions.isKnown(tenant, base, task, Integer.parseInt(key.group(4)))) {
                takeIn(key);
            }
        }
    }

    // ---- publishing ----

    @Override
    public DeltaVersion publish(String tenant, String base, String task, DeltaManifest draft, List<TensorBlocks> blocks,
            List<WholeTensor> tensors, BaseMatrices matrices) {
        requireNames(tenant, base, task);
        quota(tenant).require(usage(tenant), 0);
        DeltaFile.Encoded encoded = DeltaFile.encode(draft, blocks, tensors, matrices);
        return publish(tenant, base, task, encoded.manifest(), encoded.parts());
    }

    /**
     * Makes a file that somebody brings the task's next version, as it is, once it has been decoded against the base and proven whole.
     *
     * @throws Problem {@code CORRUPT_DELTA}, {@code BASE_MISMATCH}, or {@code STORAGE_FULL} by the quota
     */
    public DeltaVersion bring(String tenant, String base, String task, MemorySegment file, String label, String baseFingerprint,
            BaseMatrices matrices) {
        requireNames(tenant, base, task);
        quota(tenant).require(usage(tenant), file.byteSize());
        DeltaManifest manifest;
        try (Arena decoded = Arena.ofShared()) {
            DeltaFile.Decoded delta = DeltaFile.decode(file, label, baseFingerprint, matrices, decoded);
            manifest = delta.manifest();
            long values = delta.blocks().stream().mapToLong(TensorBlocks::count).sum()
                    + delta.tensors().stream().mapToLong(WholeTensor::count).sum();
            if (values != manifest.values()) {
                throw new Problem(Problem.Code.CORRUPT_DELTA, label + " has " + values + " values, its manifest says " + manifest.values());
            }
        }
        return publish(tenant, base, task, manifest, parts(file));
    }

    private static List<byte[]> parts(MemorySegment file) {
        long step = 1 << 24;
        return LongStream.range(0, (file.byteSize() + step - 1) / step)
                .mapToObj(k -> file.asSlice(k * step, Math.min(step, file.byteSize() - k * step)).toArray(ValueLayout.JAVA_BYTE))
                .toList();
    }

    private static void requireNames(String tenant, String base, String task) {
        Names.require("tenant", tenant);
        Names.require("base model", base);
        Names.require("task", task);
    }

    private DeltaVersion publish(String tenant, String base, String task, DeltaManifest manifest, List<byte[]> parts) {
        long bytes = parts.stream().mapToLong(part -> part.length).sum();
        VersionTable.Content content = new VersionTable.Content(Sha256.of(parts), bytes, manifest);
        int atLeast = 1;
        while (true) {
            DeltaVersion version = versions.reserve(tenant, base, task, atLeast, content, quota);
            boolean written;
            try {
                written = blobs.putIfAbsent(version.key(), parts);
            } catch (Problem failure) {
                versions.abandon(version);
                throw failure.getCause() instanceof IOException disk ? Blobs.failure("publishing " + base + ":" + task, disk) : failure;
            }
            if (written) {
                makeVisible(version);
                return version;
            }
            versions.abandon(version);
            atLeast = version.number() + 1;
        }
    }

    /** Where this fails for another reason nobody knows whether it took effect: the blob stays, and is collected if it did not. */
    private void makeVisible(DeltaVersion version) {
        try {
            versions.publish(version);
        } catch (Problem failure) {
            if (failure.code() == Problem.Code.CONFLICT) {
                blobs.delete(version.key());
            }
            throw failure;
        }
    }

    // ---- reading ----

    @Override
    public List<DeltaVersion> list(String tenant) {
        return versions.page(Names.require("tenant", tenant), VersionFilter.ALL, Optional.empty(), Integer.MAX_VALUE);
    }

    /** At most {@code limit} versions by base, task and number, behind one of them where that is given. */
    public List<DeltaVersion> page(String tenant, VersionFilter filter, Optional<VersionPlace> after, int limit) {
        return versions.page(tenant, filter, after, limit);
    }

    @Override
    public Optional<DeltaVersion> find(String tenant, String base, String task, OptionalInt number) {
        if (!Names.isName(tenant) || !Names.isName(base) || !Names.isName(task)) {
            return Optional.empty();
        }
        Optional<DeltaVersion> found = row(tenant, base, task, number);
        if (found.isEmpty()) {
            takeIn(tenant, base, task, number);
            found = row(tenant, base, task, number);
        }
        return found;
    }

    /**
     * What a name means: {@code base:task} (the latest version), {@code base:task@number} or {@code base:task@alias}.
     *
     * @throws Problem {@code NOT_FOUND}, the same for what is another tenant's as for what is not there
     */
    public DeltaVersion resolve(String tenant, String name) {
        Matcher parts = NAME.matcher(name);
        if (!parts.matches()) {
            throw notFound(name);
        }
        if (parts.group(4) != null) {
            return findByAlias(tenant, parts.group(1), parts.group(2), parts.group(4)).orElseThrow(() -> notFound(name));
        }
        OptionalInt number = parts.group(3) == null ? OptionalInt.empty() : OptionalInt.of(Integer.parseInt(parts.group(3)));
        return find(tenant, parts.group(1), parts.group(2), number).orElseThrow(() -> notFound(name));
    }

    private static Problem notFound(String name) {
        return new Problem(Problem.Code.NOT_FOUND, "there is no version '" + name + "'; GET /v1/deltas lists yours");
    }

    private Optional<DeltaVersion> row(String tenant, String base, String task, OptionalInt number) {
        return number.isPresent() ? versions.find(tenant, base, task, number.getAsInt()) : versions.latest(tenant, base, task);
    }

    @Override
    public Optional<DeltaVersion> findByAlias(String tenant, String base, String task, String alias) {
        if (!Names.isName(tenant) || !Names.isName(base) || !Names.isName(task) || !Names.isName(alias)) {
            return Optional.empty();
        }
        return aliases.find(new Aliases.Task(tenant, base, task), alias).flatMap(found -> versions.find(tenant, base, task, found.number()));
    }

    @Override
    public Optional<DeltaVersion> findByJob(String tenant, String job) {
        return versions.ofJob(tenant, job);
    }

    @Override
    public void lease(DeltaVersion version) {
        leases.take(version);
    }

    /**
     * Maps a version's file, proven to have the bytes that were published.
     *
     * @throws Problem {@code CORRUPT_DELTA}, or {@code NOT_FOUND} when it was deleted meanwhile
     */
    public MemorySegment openVerified(DeltaVersion version, Arena arena) {
        MemorySegment file = open(version, arena);
        requireDigest(version, file);
        return file;
    }

    private MemorySegment open(DeltaVersion version, Arena arena) {
        if (versions.find(version.tenant(), version.base(), version.task(), version.number()).isEmpty()) {
            throw new Problem(Problem.Code.NOT_FOUND, version.model() + " is no longer there");
        }
        return blobs.read(version.key(), Optional.of(version.fileDigest()), arena).orElseThrow(() -> new Problem(Problem.Code.CORRUPT_DELTA,
                version.model() + " has lost its file " + version.key() + "; restore it from a copy"));
    }

    private static void requireDigest(DeltaVersion version, MemorySegment file) {
        String digest = Sha256.of(file);
        if (!digest.equals(version.fileDigest())) {
            throw new Problem(Problem.Code.CORRUPT_DELTA, version.key() + " of " + version.model() + " has digest " + digest
                    + ", it was published with " + version.fileDigest() + "; the file is damaged, restore it from a copy");
        }
    }

    @Override
    public LoadedDelta load(DeltaVersion version, String baseFingerprint, BaseMatrices matrices, Arena arena) {
        leases.take(version);
        try (Arena mapping = Arena.ofShared()) {
            MemorySegment file = open(version, mapping);
            DeltaFile.Decoded decoded = DeltaFile.decode(file, version.key(), baseFingerprint, matrices, arena);
            requireDigest(version, file);
            return new LoadedDelta(version, decoded.blocks(), decoded.tensors());
        }
    }

    /** What is in a version, matrix by matrix, of its file's header. */
    public List<TensorShare> describe(DeltaVersion version) {
        try (Arena mapping = Arena.ofShared()) {
            return TensorShare.of(openVerified(version, mapping), version.key(), version.manifest());
        }
    }

    public Usage usage(String tenant) {
        return tenants.usage(tenant);
    }

    /** The quota that holds for a tenant: its own, and what of it is not set the server's. */
    public Quota quota(String tenant) {
        return tenants.quota(tenant).over(quota);
    }

    public OwnQuota ownQuota(String tenant) {
        return tenants.quota(tenant);
    }

    /**
     * Gives a tenant a quota of its own, here and in every other server of the database. What it stores already stays, over it or not.
     *
     * @throws Problem {@code CONFLICT} for a tenant that is erased
     */
    public void setQuota(String tenant, OwnQuota own) {
        tenants.setQuota(Names.require("tenant", tenant), own);
    }

    // ---- removing ----

    @Override
    public boolean delete(DeltaVersion version) {
        boolean deleted = versions.delete(version);
        if (deleted && !leases.isLeased(version.tenant(), version.base(), version.task(), version.number())) {
            VersionTable.Hidden hidden = new VersionTable.Hidden(version.tenant(), version.base(), version.task(), version.number());
            blobs.delete(hidden.key());
            versions.gone(hidden);
        }
        return deleted;
    }
}
