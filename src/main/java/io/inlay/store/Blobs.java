package io.inlay.store;

import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * Immutable files by key, {@code <folder>/.../<name>}: the whole of what a store asks of what it is kept on. A blob is there whole and
 * durable or not there at all, and once given its key has the same bytes until it is deleted.
 */
public interface Blobs {

    /** A blob's facts. */
    record Blob(String key, long bytes, Instant modified) {
    }

    /**
     * Stores the parts, one after another, durably. Returns false, and changes nothing, when the key is taken.
     *
     * @throws Problem {@code STORAGE_FULL} or {@code STORAGE_FAILED}; then nothing of it is visible
     */
    boolean putIfAbsent(String key, List<byte[]> parts);

    /**
     * A copy of the bytes in memory of the arena, which must be open to all threads; empty when there is no such blob.
     *
     * @param digest {@code sha256:...} of the bytes where it is known: a copy that is at hand is then used
     */
    Optional<MemorySegment> read(String key, Optional<String> digest, Arena arena);

    Optional<Blob> find(String key);

    /** All blobs whose keys begin with a prefix that is empty or ends with '/', by key. */
    List<Blob> list(String prefix);

    /** Removes a blob durably; returns whether it was there. */
    boolean delete(String key);

    /** Removes what writers left unfinished longer ago than that; returns how many files. */
    int sweep(Duration age);

    /** A failure of a disk as users are told of it. */
    static Problem failure(String what, IOException failure) {
        String reason = String.valueOf(failure.getMessage());
        if (reason.contains("No space left on device") || reason.contains("Disk quota exceeded")) {
            return new Problem(Problem.Code.STORAGE_FULL, what + " failed: the disk is full; free space or delete versions, then try again",
                    failure);
        }
        return new Problem(Problem.Code.STORAGE_FAILED, what + " failed: " + failure + "; check the disk and the folder's rights", failure);
    }

    /** Blobs as files of a folder. */
    static Blobs folder(Path root) {
        return new FolderBlobs(root, DurableFiles.local());
    }
}
