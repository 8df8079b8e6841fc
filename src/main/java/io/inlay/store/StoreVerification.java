package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.DeltaFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import javax.sql.DataSource;

/** Reads every file of a store again and holds it to what the database knows; changes nothing. */
public final class StoreVerification {

    private final Blobs blobs;
    private final VersionTable versions;

    public StoreVerification(Blobs blobs, DataSource source) {
        this.blobs = blobs;
        this.versions = new VersionTable(new Database(source));
    }

    /**
     * What was found.
     *
     * @param bytes that were hashed
     * @param damaged what is wrong, version by version
     * @param unknown files that the database does not know; the next start takes in those that are whole
     */
    public record Report(int versions, long bytes, List<String> damaged, List<String> unknown) {

        public boolean isWhole() {
            return damaged.isEmpty();
        }
    }

    public Report run() {
        List<String> damaged = new ArrayList<>();
        List<DeltaVersion> all = versions.all();
        long bytes = 0;
        for (DeltaVersion version : all) {
            bytes += version.fileBytes();
            fault(version).ifPresent(fault -> damaged.add(version.key() + ": " + fault));
        }
        Set<String> known = new HashSet<>(versions.keys());
        List<String> unknown = blobs.list("").stream().map(Blobs.Blob::key).filter(key -> !known.contains(key)).toList();
        return new Report(all.size(), bytes, damaged, unknown);
    }

    private Optional<String> fault(DeltaVersion version) {
        try (Arena arena = Arena.ofShared()) {
            // No digest is given, so that no copy at hand stands in for what is stored.
            Optional<MemorySegment> file = blobs.read(version.key(), Optional.empty(), arena);
            if (file.isEmpty()) {
                return Optional.of("the file is missing; restore it from a copy");
            }
            if (file.get().byteSize() != version.fileBytes()) {
                return Optional.of("the file has " + file.get().byteSize() + " bytes, it was published with " + version.fileBytes()
                        + "; restore it from a copy");
            }
            String digest = Sha256.of(file.get());
            if (!digest.equals(version.fileDigest())) {
                return Optional.of("the file has digest " + digest + ", it was published with " + version.fileDigest()
                        + "; restore it from a copy");
            }
            return DeltaFile.manifest(file.get(), version.key()).equals(version.manifest()) ? Optional.empty()
                    : Optional.of("the file's manifest is not the database's; restore the database from a copy");
        } catch (Problem unreadable) {
            return Optional.of(unreadable.getMessage());
        }
    }
}
