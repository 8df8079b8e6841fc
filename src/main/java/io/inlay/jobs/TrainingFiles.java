package io.inlay.jobs;

import io.inlay.Problem;
import io.inlay.store.Database;
import io.inlay.store.DurableFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import javax.sql.DataSource;

/**
 * Tenants' uploaded files: content in {@code <folder>/<tenant>/<id>}, facts in the database. A file is listed only after its content is
 * on the disk.
 */
public final class TrainingFiles {

    private final Database database;
    private final Path folder;
    private final long maxBytes;
    private final DurableFiles disk;

    /**
     * @param maxBytes the largest file that is taken
     */
    public TrainingFiles(DataSource source, Path folder, long maxBytes, DurableFiles disk) {
        this.database = new Database(source);
        this.folder = folder;
        this.maxBytes = maxBytes;
        this.disk = disk;
    }

    /**
     * Stores a file.
     *
     * @throws Problem {@code PAYLOAD_TOO_LARGE}, {@code INVALID_TRAINING_FILE} for an empty one, {@code STORAGE_FULL} or
     *         {@code STORAGE_FAILED}
     */
    public TrainingFile add(String tenant, String name, String purpose, InputStream content) {
        String id = "file-" + UUID.randomUUID().toString().replace("-", "");
        Path target = path(tenant, id);
        Path temporary = target.resolveSibling(".upload-" + id);
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            byte[] bytes;
            try (InputStream hashed = new DigestInputStream(content, digest)) {
                bytes = hashed.readNBytes((int) Math.min(Integer.MAX_VALUE - 8, maxBytes + 1));
            }
            if (bytes.length > maxBytes) {
                throw new Problem(Problem.Code.PAYLOAD_TOO_LARGE, "file '" + name + "' is over the limit of " + maxBytes
                        + " bytes; split it, or raise inlay.files.max-bytes");
            }
            if (bytes.length == 0) {
                throw new Problem(Problem.Code.INVALID_TRAINING_FILE, "file '" + name + "' is empty; upload JSONL, one example a line");
            }
            Files.createDirectories(target.getParent());
            disk.write(temporary, List.of(bytes));
            disk.publish(temporary, target);
            TrainingFile file = new TrainingFile(id, tenant, name, purpose, bytes.length,
                    "sha256:" + HexFormat.of().formatHex(digest.digest()), Instant.ofEpochMilli(System.currentTimeMillis()));
            insert(file);
            return file;
        } catch (IOException failure) {
            throw failed("storing file '" + name + "'", failure);
        } catch (NoSuchAlgorithmException impossible) {
            throw new AssertionError("every JDK has SHA-256", impossible);
        } finally {
            temporary.toFile().delete();
        }
    }

    private void insert(TrainingFile file) throws IOException {
        try {
            database.transaction(each -> {
                TenantErasures.requireKept(each, file.tenant());
                return each.update("insert into training_file (id, tenant, name, purpose, bytes, digest, created_at) "
                        + "values (?, ?, ?, ?, ?, ?, ?)", file.id(), file.tenant(), shortened(file.name()), file.purpose(), file.bytes(),
                        file.digest(), file.createdAt().toEpochMilli());
            });
        } catch (Problem refused) {
            if (refused.code() == Problem.Code.CONFLICT) {
                disk.delete(path(file.tenant(), file.id()));
            }
            throw refused;
        }
    }

    private static String shortened(String name) {
        return name.length() <= 512 ? name : name.substring(0, 512);
    }

    private static Problem failed(String what, IOException failure) {
        boolean full = String.valueOf(failure.getMessage()).contains("No space left on device");
        return new Problem(full ? Problem.Code.STORAGE_FULL : Problem.Code.STORAGE_FAILED, what + " failed: "
                + (full ? "the disk is full; free space, then try again" : failure + "; check the disk and the folder's rights"), failure);
    }

    /** A tenant's files, newest first. */
    public List<TrainingFile> list(String tenant) {
        return database.query(TrainingFiles::read, "select * from training_file where tenant = ? order by created_at desc, id", tenant);
    }

    /** Empty for another tenant's. */
    public Optional<TrainingFile> find(String tenant, String id) {
        return database.query(TrainingFiles::read, "select * from training_file where tenant = ? and id = ?", tenant, id).stream()
                .findFirst();
    }

    public byte[] content(TrainingFile file) {
        try {
            return Files.readAllBytes(path(file.tenant(), file.id()));
        } catch (IOException failure) {
            throw failed("reading file " + file.id(), failure);
        }
    }

    /**
     * Removes a file; returns whether it was there.
     *
     * @throws Problem {@code CONFLICT} while a job that has not ended needs it
     */
    public boolean delete(String tenant, String id) {
        boolean there = database.transaction(each -> {
            List<String> needing = each.query(row -> row.getString("id"), "select id from tuning_job where tenant = ? "
                    + "and status in ('queued', 'running', 'paused') and request like ? order by created_at", tenant, "%\"" + id + "\"%");
            if (!needing.isEmpty()) {
                throw new Problem(Problem.Code.CONFLICT, "file " + id + " is needed by job " + needing.getFirst()
                        + ", which has not ended; cancel the job or wait for its end");
            }
            return each.update("delete from training_file where tenant = ? and id = ?", tenant, id) > 0;
        });
        if (there) {
            try {
                Files.deleteIfExists(path(tenant, id));
            } catch (IOException failure) {
                throw failed("deleting file " + id, failure);
            }
        }
        return there;
    }

    /** Removes all files of a tenant, half uploaded ones included, and counts them in its erasure. */
    void erase(String tenant) {
        Path own = folder.resolve(tenant);
        if (Files.isDirectory(own)) {
            try (Stream<Path> contents = Files.list(own)) {
                for (Path content : contents.toList()) {
                    disk.delete(content);
                }
            } catch (IOException failure) {
                throw failed("erasing the files of tenant " + tenant, failure);
            }
        }
        database.transaction(each -> each.update("update tenant_erasure set files = files + ? where tenant = ?",
                each.update("delete from training_file where tenant = ?", tenant), tenant));
    }

    /** Tenants' names are letters, digits, '.', '_' and '-' (configuration checks them); ids are ours. */
    private Path path(String tenant, String id) {
        return folder.resolve(tenant).resolve(id);
    }

    private static TrainingFile read(ResultSet row) throws SQLException {
        return new TrainingFile(row.getString("id"), row.getString("tenant"), row.getString("name"), row.getString("purpose"),
                row.getLong("bytes"), row.getString("digest"), Instant.ofEpochMilli(row.getLong("created_at")));
    }
}
