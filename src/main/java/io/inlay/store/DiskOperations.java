package io.inlay.store;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** What {@link DurableFiles} asks of an operating system, one by one: the seam at which tests make each of them fail, or be the last. */
interface DiskOperations {

    /** Makes a new file, open for writing. */
    FileChannel create(Path file) throws IOException;

    void write(FileChannel file, byte[] bytes) throws IOException;

    /** Forces a file's bytes to the disk. */
    void force(FileChannel file) throws IOException;

    /** Gives a file a second name, which must not exist: a rename would silently replace what is there. */
    void link(Path name, Path file) throws IOException;

    /** Removes a file; returns whether it was there. */
    boolean delete(Path file) throws IOException;

    void createFolder(Path folder) throws IOException;

    /** Forces a folder's entries to the disk. */
    void forceFolder(Path folder) throws IOException;

    /** The operating system's own. */
    DiskOperations LOCAL = new DiskOperations() {
        @Override
        public FileChannel create(Path file) throws IOException {
            return FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW);
        }

        @Override
        public void write(FileChannel file, byte[] bytes) throws IOException {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            while (buffer.hasRemaining()) {
                file.write(buffer);
            }
        }

        @Override
        public void force(FileChannel file) throws IOException {
            file.force(true);
        }

        @Override
        public void link(Path name, Path file) throws IOException {
            Files.createLink(name, file);
        }

        @Override
        public boolean delete(Path file) throws IOException {
            return Files.deleteIfExists(file);
        }

        @Override
        public void createFolder(Path folder) throws IOException {
            Files.createDirectories(folder);
        }

        @Override
        public void forceFolder(Path folder) throws IOException {
            DurableFiles.forceFolder(folder);
        }
    };
}
