package io.inlay.store;

import java.io.IOException;
import java.nio.ByteBuffer;
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

    /** The operating system's. */
    static DurableFiles local() {
        return new DurableFiles() {
            @Override
            public void write(Path file, List<byte[]> parts) throws IOException {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
                    for (byte[] part : parts) {
                        ByteBuffer buffer = ByteBuffer.wrap(part);
                        while (buffer.hasRemaining()) {
                            channel.write(buffer);
                        }
                    }
                    channel.force(true);
                }
            }

            @Override
            public void publish(Path file, Path name) throws IOException {
                // A hard link fails when the name exists, which a rename would silently replace.
                Files.createLink(name, file);
                try {
                    Files.delete(file);
                    forceFolder(name.getParent());
                } catch (IOException unsure) {
                    Files.deleteIfExists(name);
                    throw unsure;
                }
            }
        };
    }

    /** Forces a folder's entries to the disk. */
    static void forceFolder(Path folder) throws IOException {
        try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }
}
