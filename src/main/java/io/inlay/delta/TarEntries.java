package io.inlay.delta;

import io.inlay.Problem;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The regular files of a tar archive (POSIX ustar) by path, as slices of its bytes. Read like an attack: no links, devices or extensions, no
 * path that leaves its folder, none twice, sizes within the archive, every header's checksum right, zeros behind the last file.
 */
final class TarEntries {

    static final int BLOCK = 512;

    /** Entries of an archive at most; ours has five. */
    static final int MAX_ENTRIES = 64;

    private static final int NAME = 100;
    private static final int SIZE = 124;
    private static final int CHECKSUM = 148;
    private static final int TYPE = 156;
    private static final int MAGIC = 257;
    private static final int PREFIX = 345;

    private TarEntries() {
    }

    static Map<String, MemorySegment> read(MemorySegment archive, String label) {
        Map<String, MemorySegment> files = new LinkedHashMap<>();
        long at = 0;
        int entries = 0;
        while (true) {
            if (archive.byteSize() - at < BLOCK) {
                throw refusal(label, "ends at byte " + archive.byteSize() + " without the two empty blocks that end a tar archive");
            }
            byte[] header = archive.asSlice(at, BLOCK).toArray(ValueLayout.JAVA_BYTE);
            if (zeros(header)) {
                requireZeros(archive, at, label);
                return files;
            }
            if (++entries > MAX_ENTRIES) {
                throw refusal(label, "has more than " + MAX_ENTRIES + " entries");
            }
            at += BLOCK;
            requireChecksum(header, at - BLOCK, label);
            String path = path(header, label);
            long size = size(header, path, label);
            if (size > archive.byteSize() - at) {
                throw refusal(label, "has the file '" + path + "' of " + size + " bytes, of which only " + (archive.byteSize() - at)
                        + " are there");
            }
            add(files, header, path, archive.asSlice(at, size), label);
            // Cannot overflow: the file lies within the archive.
            at += Math.ceilDiv(size, BLOCK) * BLOCK;
        }
    }

    private static void add(Map<String, MemorySegment> files, byte[] header, String path, MemorySegment bytes, String label) {
        switch (header[TYPE]) {
            case '0', 0 -> {
                if (files.put(path, bytes) != null) {
                    throw refusal(label, "has the file '" + path + "' twice");
                }
            }
            case '5' -> {
                if (bytes.byteSize() != 0) {
                    throw refusal(label, "has the folder '" + path + "' with a content");
                }
            }
            case '1', '2' -> throw refusal(label, "has the link '" + path + "'; an image layout has regular files only");
            default -> throw refusal(label, "has the entry '" + path + "' of type " + (header[TYPE] & 0xFF)
                    + "; pack regular files, in ustar format (tar --format=ustar)");
        }
    }

    private static boolean zeros(byte[] header) {
        for (byte each : header) {
            if (each != 0) {
                return false;
            }
        }
        return true;
    }

    private static void requireZeros(MemorySegment archive, long at, String label) {
        if (archive.byteSize() - at < 2 * BLOCK) {
            throw refusal(label, "ends after one empty block; a tar archive ends with two");
        }
        for (long i = at; i < archive.byteSize(); i++) {
            if (archive.get(ValueLayout.JAVA_BYTE, i) != 0) {
                throw refusal(label, "has something at byte " + i + ", behind the archive's end");
            }
        }
    }

    private static void requireChecksum(byte[] header, long at, String label) {
        long sum = 0;
        for (int i = 0; i < BLOCK; i++) {
            sum += i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : header[i] & 0xFF;
        }
        if (octal(header, CHECKSUM, 8) != sum) {
            throw refusal(label, "has a header at byte " + at + " whose checksum is wrong; it is damaged or no tar archive");
        }
    }

    private static String path(byte[] header, String label) {
        boolean ustar = text(header, MAGIC, 5).equals("ustar");
        String prefix = ustar && header[MAGIC + 5] == 0 ? text(header, PREFIX, 155) : "";
        String path = prefix.isEmpty() ? text(header, 0, NAME) : prefix + "/" + text(header, 0, NAME);
        String shown = path.startsWith("./") ? path.substring(2) : path;
        String bare = shown.endsWith("/") ? shown.substring(0, shown.length() - 1) : shown;
        if (bare.isEmpty() && header[TYPE] == '5') {
            return ".";
        }
        for (String step : bare.split("/", -1)) {
            if (step.isEmpty() || step.equals(".") || step.equals("..") || !step.chars().allMatch(c -> c > ' ' && c < 0x7F && c != '\\')) {
                throw refusal(label, "has a file with the path '" + printable(path)
                        + "', which is no plain path of letters, digits and signs within its folder");
            }
        }
        return bare;
    }

    private static String printable(String path) {
        return path.codePoints().map(c -> c < ' ' || c >= 0x7F ? '?' : c).collect(StringBuilder::new, StringBuilder::appendCodePoint,
                StringBuilder::append).toString();
    }

    private static String text(byte[] header, int from, int length) {
        int end = from;
        while (end < from + length && header[end] != 0) {
            end++;
        }
        return new String(header, from, end - from, StandardCharsets.ISO_8859_1);
    }

    private static long size(byte[] header, String path, String label) {
        long size = (header[SIZE] & 0x80) == 0 ? octal(header, SIZE, 12) : binary(header);
        if (size < 0) {
            throw refusal(label, "has the file '" + path + "' with a size that is no number");
        }
        return size;
    }

    /** Octal digits, then spaces or a zero byte; -1 when it is something else. Twelve digits are at most 36 bits. */
    private static long octal(byte[] header, int from, int length) {
        long value = 0;
        int digits = 0;
        for (int i = from; i < from + length; i++) {
            if (header[i] >= '0' && header[i] <= '7') {
                value = value * 8 + header[i] - '0';
                digits++;
            } else if (header[i] == 0 || header[i] == ' ') {
                if (digits > 0) {
                    return value;
                }
            } else {
                return -1;
            }
        }
        return digits > 0 ? value : -1;
    }

    /** Big endian behind 0x80, as archives with files of 8 GiB and more have it; -1 when it is negative or over 63 bits. */
    private static long binary(byte[] header) {
        for (int i = SIZE; i < SIZE + 4; i++) {
            if (header[i] != (i == SIZE ? (byte) 0x80 : 0)) {
                return -1;
            }
        }
        long value = 0;
        for (int i = SIZE + 4; i < SIZE + 12; i++) {
            value = value << 8 | header[i] & 0xFF;
        }
        return value;
    }

    private static Problem refusal(String label, String what) {
        return new Problem(Problem.Code.CORRUPT_DELTA, label + " " + what);
    }
}
