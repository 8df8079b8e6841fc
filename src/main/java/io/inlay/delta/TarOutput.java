package io.inlay.delta;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/** Writes a tar archive (POSIX ustar) of regular files, one after another; the same files give the same bytes: no times, no owners. */
public final class TarOutput {

    private static final long LARGEST_OCTAL = (1L << 33) - 1;

    private final OutputStream out;

    public TarOutput(OutputStream out) {
        this.out = out;
    }

    /** Writes a file's bytes; they must be as many as were announced. */
    @FunctionalInterface
    public interface Content {
        void writeTo(OutputStream out) throws IOException;
    }

    public void file(String path, byte[] bytes) throws IOException {
        file(path, bytes.length, to -> to.write(bytes));
    }

    public void file(String path, long size, Content content) throws IOException {
        out.write(header(path, size));
        Counted counted = new Counted(out);
        content.writeTo(counted);
        if (counted.count != size) {
            throw new IOException(path + " was to have " + size + " bytes and has " + counted.count);
        }
        out.write(new byte[(int) (Math.ceilDiv(size, TarEntries.BLOCK) * TarEntries.BLOCK - size)]);
    }

    /** Two empty blocks; the stream stays open. */
    public void end() throws IOException {
        out.write(new byte[2 * TarEntries.BLOCK]);
        out.flush();
    }

    private static byte[] header(String path, long size) {
        byte[] name = path.getBytes(StandardCharsets.US_ASCII);
        if (name.length > 100) {
            throw new IllegalArgumentException("'" + path + "' is longer than the 100 bytes that a path in a tar archive may have");
        }
        byte[] header = new byte[TarEntries.BLOCK];
        System.arraycopy(name, 0, header, 0, name.length);
        put(header, 100, "0000644\0");
        put(header, 108, "0000000\0");
        put(header, 116, "0000000\0");
        if (size <= LARGEST_OCTAL) {
            put(header, 124, String.format("%011o\0", size));
        } else {
            header[124] = (byte) 0x80;
            for (int i = 0; i < 8; i++) {
                header[135 - i] = (byte) (size >>> 8 * i);
            }
        }
        put(header, 136, "00000000000\0");
        put(header, 148, "        ");
        header[156] = '0';
        put(header, 257, "ustar\00000");
        int sum = 0;
        for (byte each : header) {
            sum += each & 0xFF;
        }
        put(header, 148, String.format("%06o\0 ", sum));
        return header;
    }

    private static void put(byte[] header, int at, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
        System.arraycopy(bytes, 0, header, at, bytes.length);
    }

    /** Counts what passes. */
    private static final class Counted extends OutputStream {
        private final OutputStream to;
        private long count;

        private Counted(OutputStream to) {
            this.to = to;
        }

        @Override
        public void write(int one) throws IOException {
            to.write(one);
            count++;
        }

        @Override
        public void write(byte[] bytes, int from, int length) throws IOException {
            to.write(bytes, from, length);
            count += length;
        }
    }
}
