package io.inlay.store;

import io.inlay.Problem;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.http.ContentStreamProvider;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.HeadObjectResponse;
import software.amazon.awssdk.services.s3.model.NoSuchKeyException;
import software.amazon.awssdk.services.s3.model.S3Exception;

/**
 * Blobs as objects of an S3 bucket, put only where there is none ({@code If-None-Match: *}). What is read is copied to a folder, by digest,
 * and mapped from there; the folder is bounded, and may be removed at any time.
 */
public final class S3Blobs implements Blobs {

    private static final String TEMPORARY = ".fetching-";

    private final S3Client s3;
    private final String bucket;
    private final String prefix;
    private final Path cache;
    private final long cacheBytes;

    /**
     * @param prefix what keys in the bucket begin with
     * @param cacheBytes of copies that are kept
     */
    public S3Blobs(S3Client s3, String bucket, String prefix, Path cache, long cacheBytes) {
        this.s3 = s3;
        this.bucket = bucket;
        this.prefix = prefix;
        this.cache = cache;
        this.cacheBytes = cacheBytes;
    }

    private Problem failure(String what, SdkException failure) {
        return new Problem(Problem.Code.STORAGE_FAILED, what + " in the bucket " + bucket + " failed: " + failure.getMessage()
                + "; check inlay.deltas.s3's endpoint, region and bucket, and the credentials", failure);
    }

    @Override
    public boolean putIfAbsent(String key, List<byte[]> parts) {
        long bytes = parts.stream().mapToLong(part -> part.length).sum();
        ContentStreamProvider content = () -> new SequenceInputStream(Collections.enumeration(
                parts.stream().<InputStream>map(ByteArrayInputStream::new).toList()));
        try {
            s3.putObject(put -> put.bucket(bucket).key(prefix + key).ifNoneMatch("*").contentLength(bytes),
                    RequestBody.fromContentProvider(content, bytes, "application/octet-stream"));
            return true;
        } catch (S3Exception refused) {
            // 409 is another's put of the same key at the same time.
            if (refused.statusCode() == 412 || refused.statusCode() == 409) {
                return false;
            }
            throw failure("writing " + key, refused);
        } catch (SdkException failure) {
            throw failure("writing " + key, failure);
        }
    }

    @Override
    public Optional<MemorySegment> read(String key, Optional<String> digest, Arena arena) {
        try {
            Files.createDirectories(cache);
            if (digest.isPresent() && find(key).isPresent()) {
                Optional<MemorySegment> copy = readCopy(copy(digest.get()), arena);
                if (copy.isPresent()) {
                    return copy;
                }
            }
            return fetch(key, digest, arena);
        } catch (IOException failure) {
            throw Blobs.failure("copying " + key + " to " + cache, failure);
        }
    }

    private Path copy(String digest) {
        return cache.resolve(digest.replace(':', '-'));
    }

    private static Optional<MemorySegment> readCopy(Path copy, Arena arena) throws IOException {
        try {
            Files.setLastModifiedTime(copy, FileTime.from(Instant.now()));
            return Optional.of(FileBytes.read(copy, arena));
        } catch (NoSuchFileException absent) {
            return Optional.empty();
        }
    }

    /** A copy is named by the digest that it has; one that should have had another is read, so that its reader tells, and not kept. */
    private Optional<MemorySegment> fetch(String key, Optional<String> digest, Arena arena) throws IOException {
        Path temporary = cache.resolve(TEMPORARY + UUID.randomUUID());
        try (InputStream object = s3.getObject(get -> get.bucket(bucket).key(prefix + key))) {
            Files.copy(object, temporary);
            Optional<MemorySegment> bytes = readCopy(temporary, arena);
            String actual = Sha256.of(bytes.orElseThrow());
            if (digest.isEmpty() || digest.get().equals(actual)) {
                Files.move(temporary, copy(actual), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
                makeRoom();
            }
            return bytes;
        } catch (NoSuchKeyException absent) {
            return Optional.empty();
        } catch (SdkException failure) {
            throw failure("reading " + key, failure);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    private record Copy(Path file, long bytes, FileTime used) {
    }

    /** Mapped copies stay readable after they were removed. */
    private synchronized void makeRoom() throws IOException {
        List<Copy> copies = new ArrayList<>();
        try (Stream<Path> files = Files.list(cache)) {
            for (Path file : files.filter(each -> !each.getFileName().toString().startsWith(TEMPORARY)).toList()) {
                copies.add(new Copy(file, Files.size(file), Files.getLastModifiedTime(file)));
            }
        }
        copies.sort(Comparator.comparing(Copy::used).reversed());
        long kept = 0;
        for (Copy copy : copies) {
            kept += copy.bytes();
            if (kept > cacheBytes) {
                Files.deleteIfExists(copy.file());
            }
        }
    }

    @Override
    public Optional<Blob> find(String key) {
        try {
            HeadObjectResponse object = s3.headObject(head -> head.bucket(bucket).key(prefix + key));
            return Optional.of(new Blob(key, object.contentLength(), object.lastModified()));
        } catch (NoSuchKeyException absent) {
            return Optional.empty();
        } catch (SdkException failure) {
            throw failure("looking for " + key, failure);
        }
    }

    @Override
    public List<Blob> list(String under) {
        try {
            return s3.listObjectsV2Paginator(list -> list.bucket(bucket).prefix(prefix + under)).contents().stream()
                    .map(object -> new Blob(object.key().substring(prefix.length()), object.size(), object.lastModified()))
                    .sorted(Comparator.comparing(Blob::key)).toList();
        } catch (SdkException failure) {
            throw failure("listing " + under, failure);
        }
    }

    @Override
    public boolean delete(String key) {
        boolean there = find(key).isPresent();
        try {
            s3.deleteObject(delete -> delete.bucket(bucket).key(prefix + key));
            return there;
        } catch (SdkException failure) {
            throw failure("deleting " + key, failure);
        }
    }

    /** A put that was cut short leaves nothing in the bucket; copies under way may be left here. */
    @Override
    public int sweep(Duration age) {
        if (!Files.isDirectory(cache)) {
            return 0;
        }
        int swept = 0;
        try (Stream<Path> files = Files.list(cache)) {
            for (Path file : files.filter(each -> each.getFileName().toString().startsWith(TEMPORARY)).toList()) {
                if (!Files.getLastModifiedTime(file).toInstant().isAfter(Instant.now().minus(age))) {
                    swept += Files.deleteIfExists(file) ? 1 : 0;
                }
            }
            return swept;
        } catch (NoSuchFileException finished) {
            return swept;
        } catch (IOException failure) {
            throw Blobs.failure("sweeping " + cache, failure);
        }
    }
}
