package io.inlay.store;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Blobs as files under a folder, by their keys. A blob is written under a temporary name, forced to the disk, and linked to its own, which
 * fails where that is taken; a crash leaves at most a temporary file, which is swept away later.
 */
public final class FolderBlobs implements Blobs {

    private static final Logger LOG = LoggerFactory.getLogger(FolderBlobs.class);
    private static final String TEMPORARY = ".publishing-";

    private final Path root;
    private final DurableFiles files;

    public FolderBlobs(Path root, DurableFiles files) {
        this.root = root.toAbsolutePath().normalize();
        this.files = files;
    }

    /** Keys are made of checked names; this is the second lock on the door. */
    private Path file(String key) {
        Path file = root.resolve(key).normalize();
        if (!file.startsWith(root) || file.equals(root)) {
            throw new IllegalArgumentException("key '" + key + "' leaves the store's folder");
        }
        return file;
    }

    @Override
    public boolean putIfAbsent(String key, List<byte[]> parts) {
        Path file = file(key);
        Path temporary = file.resolveSibling(TEMPORARY + UUID.randomUUID());
        try {
            files.createFolders(file.getParent());
            files.write(temporary, parts);
            files.publish(temporary, file);
            return true;
        } catch (FileAlreadyExistsException taken) {
            LOG.debug("{} is taken", key);
            return false;
        } catch (IOException failure) {
            throw Blobs.failure("writing " + key, failure);
        } finally {
            try {
                files.delete(temporary);
            } catch (IOException left) {
                LOG.warn("{} could not be removed: {}", temporary, left.getMessage());
            }
        }
    }

    @Override
    public Optional<MemorySegment> read(String key, Optional<String> digest, Arena arena) {
        try {
            return Optional.of(FileBytes.read(file(key), arena));
        } catch (NoSuchFileException absent) {
            return Optional.empty();
        } catch (IOException failure) {
            throw Blobs.failure("reading " + file(key), failure);
        }
    }

    @Override
    public Optional<Blob> find(String key) {
        try {
            return Optional.of(blob(file(key), Files.readAttributes(file(key), BasicFileAttributes.class)));
        } catch (NoSuchFileException absent) {
            return Optional.empty();
        } catch (IOException failure) {
            throw Blobs.failure("reading " + file(key), failure);
        }
    }

    private Blob blob(Path file, BasicFileAttributes attributes) {
        return new Blob(root.relativize(file).toString(), attributes.size(), attributes.lastModifiedTime().toInstant());
    }

    @Override
    public List<Blob> list(String prefix) {
        List<Blob> blobs = new ArrayList<>();
        walk(prefix, (file, attributes) -> {
            if (!file.getFileName().toString().startsWith(TEMPORARY)) {
                blobs.add(blob(file, attributes));
            }
        });
        blobs.sort(Comparator.comparing(Blob::key));
        return blobs;
    }

    private interface Visit {
        void file(Path file, BasicFileAttributes attributes) throws IOException;
    }

    private void walk(String prefix, Visit visit) {
        Path folder = prefix.isEmpty() ? root : file(prefix);
        if (!Files.isDirectory(folder)) {
            return;
        }
        try {
            Files.walkFileTree(folder, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    visit.file(file, attributes);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult visitFileFailed(Path file, IOException failure) throws IOException {
                    // Another process has finished with it meanwhile.
                    if (failure instanceof NoSuchFileException) {
                        return FileVisitResult.CONTINUE;
                    }
                    throw failure;
                }
            });
        } catch (IOException failure) {
            throw Blobs.failure("listing " + folder, failure);
        }
    }

    @Override
    public boolean delete(String key) {
        try {
            return files.delete(file(key));
        } catch (IOException failure) {
            throw Blobs.failure("deleting " + file(key), failure);
        }
    }

    @Override
    public int sweep(Duration age) {
        Instant before = Instant.now().minus(age);
        List<Path> left = new ArrayList<>();
        walk("", (file, attributes) -> {
            if (file.getFileName().toString().startsWith(TEMPORARY) && !attributes.lastModifiedTime().toInstant().isAfter(before)) {
                left.add(file);
            }
        });
        for (Path file : left) {
            LOG.info("removing {}, left by a publisher that was cut short", file);
            try {
                files.delete(file);
            } catch (IOException failure) {
                throw Blobs.failure("sweeping " + file, failure);
            }
        }
        return left.size();
    }
}
