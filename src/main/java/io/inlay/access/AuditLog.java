package io.inlay.access;

import io.inlay.Problem;
import io.inlay.store.DurableFiles;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Lines that are only ever added: {@code <folder>/audit.jsonl}, and past a size {@code audit-<time>-<random>.jsonl}, which Inlay never
 * removes. A line is on the disk when {@link #append} returns. A line that a crash cut short stays, ended, and the next one begins anew.
 */
public final class AuditLog implements AutoCloseable {

    private static final Logger LOG = LoggerFactory.getLogger(AuditLog.class);
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

    private final Path folder;
    private final long maxBytes;
    private FileChannel file;
    private boolean failed;

    /**
     * @param maxBytes of one file; a longer line has one of its own
     */
    public AuditLog(Path folder, long maxBytes) {
        this.folder = folder;
        this.maxBytes = maxBytes;
        if (maxBytes < 1) {
            throw new Problem(Problem.Code.INVALID_REQUEST, "inlay.audit.max-bytes is " + maxBytes + "; it must be at least 1");
        }
        try {
            Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            open();
        } catch (IOException failure) {
            throw failed(failure);
        }
    }

    private Path active() {
        return folder.resolve("audit.jsonl");
    }

    private void open() throws IOException {
        boolean there = Files.exists(active());
        file = FileChannel.open(active(), Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.APPEND),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        if (!there) {
            DurableFiles.forceFolder(folder);
        } else if (file.size() > 0 && !endsItsLine()) {
            LOG.warn("the last line of {} was cut short", active());
            write("\n".getBytes(StandardCharsets.UTF_8));
        }
    }

    private boolean endsItsLine() throws IOException {
        try (FileChannel reading = FileChannel.open(active(), StandardOpenOption.READ)) {
            ByteBuffer last = ByteBuffer.allocate(1);
            reading.read(last, reading.size() - 1);
            return last.get(0) == '\n';
        }
    }

    /**
     * Before a change: refuses it where the last line could not be written and still cannot. What cannot be recorded is not done.
     *
     * @throws Problem {@code STORAGE_FAILED}
     */
    public synchronized void requireWritable() {
        if (failed) {
            try {
                file.close();
                open();
                write(("{\"time\":\"" + Instant.now() + "\",\"change\":\"audit.resume\"}\n").getBytes(StandardCharsets.UTF_8));
                failed = false;
            } catch (IOException failure) {
                throw failed(failure);
            }
        }
    }

    /**
     * Adds a line; it is on the disk when this returns.
     *
     * @throws Problem {@code STORAGE_FAILED}
     */
    public synchronized void append(AuditEntry entry) {
        byte[] line = (entry.line() + "\n").getBytes(StandardCharsets.UTF_8);
        try {
            if (file.size() > 0 && file.size() + line.length > maxBytes) {
                rotate();
            }
            write(line);
        } catch (IOException failure) {
            failed = true;
            throw failed(failure);
        }
    }

    private void rotate() throws IOException {
        file.close();
        Files.move(active(), folder.resolve("audit-" + TIME.format(Instant.now()) + "-"
                + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt()) + ".jsonl"));
        open();
    }

    private void write(byte[] bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
            file.write(buffer);
        }
        file.force(true);
    }

    private Problem failed(IOException failure) {
        return new Problem(Problem.Code.STORAGE_FAILED, "the audit log in " + folder + " cannot be written: " + failure
                + "; check its disk and its rights (inlay.audit.folder)", failure);
    }

    @Override
    public synchronized void close() {
        try {
            file.close();
        } catch (IOException failure) {
            LOG.warn("the audit log in {} could not be closed: {}", folder, failure.getMessage());
        }
    }
}
