package io.inlay.store;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/** Writes that survive a crash once they return. The seam at which tests make a disk fail. */
public interface DurableFiles {

    /** Writes a new file and forces its bytes to the disk. */
    void write(Path file, List<byte[]> parts) throws IOException;

    /** Makes {@code file} visible under {@code name}, which must not exist, and forces the folder to the disk. */
    void publish(Path file, Path name) throws IOException;

    /** Makes a folder where it is missing, and forces every folder that got a new entry. */
    default void createFolders(Path folder) throws IOException {
        createFolders(DiskOperations.LOCAL, folder);
    }

    /** Removes a file and forces the folder; returns whether it was there. */
    default boolean delete(Path file) throws IOException {
        return delete(DiskOperations.LOCAL, file);
    }

    /** The operating system's. */
    static DurableFiles local() {
        return over(DiskOperations.LOCAL);
    }

    /** Durable by these operations. */
    static DurableFiles over(DiskOperations disk) {
        return new DurableFiles() {
            @Override
            public void write(Path file, List<byte[]> parts) throws IOException {
                try (FileChannel channel = disk.create(file)) {
                    for (byte[] part : parts) {
                        disk.write(channel, part);
                    }
                    disk.force(channel);
                }
            }

            @Override
            public void publish(Path file, Path name) throws IOException {
                disk.link(name, file);
                try {
                    disk.delete(file);
                    disk.forceFolder(name.getParent());
                } catch (IOException unsure) {
                    disk.delete(name);
                    throw unsure;
                }
            }

            @Override
            public void createFolders(Path folder) throws IOException {
                DurableFiles.createFolders(disk, folder);
            }

            @Override
            public boolean delete(Path file) throws IOException {
                return DurableFiles.delete(disk, file);
            }
        };
    }

    /** Parent by parent, so that a file's own folder survives with it. */
    private static void createFolders(DiskOperations disk, Path folder) throws IOException {
        if (Files.isDirectory(folder)) {
            return;
        }
        Path parent = folder.toAbsolutePath().getParent();
        createFolders(disk, parent);
        disk.createFolder(folder);
        disk.forceFolder(parent);
    }

    private static boolean delete(DiskOperations disk, Path file) throws IOException {
        boolean there = disk.delete(file);
        if (there) {
            disk.forceFolder(file.getParent());
        }
        return there;
    }

    /** Forces a folder's entries to the disk. */
    static void forceFolder(Path folder) throws IOException {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }
}
