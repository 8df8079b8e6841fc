package io.inlay.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.Problem;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.function.Function;

/**
 * Writes a whole model's weights as one bf16 safetensors file: 8 bytes of header length, the JSON header padded with spaces to a multiple
 * of 8, then the tensors back to back. The file appears under its name only when it is whole.
 */
public final class CheckpointWriter {

    private static final int CHUNK = 1 << 26;

    private CheckpointWriter() {
    }

    /** Writes weights that are all in memory. */
    public static void write(Path file, List<DenseTensor> tensors) {
        var next = tensors.iterator();
        write(file, tensors.stream().map(DenseTensor::parameter).toList(), _ -> next.next().values());
    }

    /**
     * Writes weights one at a time.
     *
     * @param values asked once per parameter, in order, for its bf16 bit patterns
     * @throws Problem {@code STORAGE_FAILED} when the file cannot be written; nothing is left behind then
     */
    public static void write(Path file, List<ParameterShape> parameters, Function<ParameterShape, MemorySegment> values) {
        Path target = file.toAbsolutePath();
        Path partial = target.resolveSibling(target.getFileName() + ".partial");
        try {
            try (FileChannel channel = FileChannel.open(partial, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING,
                    StandardOpenOption.WRITE)) {
                writeFully(channel, header(parameters));
                for (ParameterShape parameter : parameters) {
                    writeTensor(channel, parameter, values.apply(parameter));
                }
                channel.force(true);
            }
            Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException failure) {
            throw new Problem(Problem.Code.STORAGE_FAILED, "cannot write the checkpoint " + target + ": " + failure.getMessage()
                    + "; check the folder and its free space", failure);
        } finally {
            deleteQuietly(partial);
        }
    }

    private static ByteBuffer header(List<ParameterShape> parameters) throws JsonProcessingException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode root = json.createObjectNode();
        root.putObject("__metadata__").put("format", "pt");
        long offset = 0;
        for (ParameterShape parameter : parameters) {
            ObjectNode entry = root.putObject(parameter.name());
            entry.put("dtype", "BF16");
            for (long size : parameter.shape()) {
                entry.withArray("shape").add(size);
            }
            long end = offset + bytes(parameter);
            entry.putArray("data_offsets").add(offset).add(end);
            offset = end;
        }
        byte[] text = json.writeValueAsBytes(root);
        int padded = Math.ceilDiv(text.length, 8) * 8;
        ByteBuffer buffer = ByteBuffer.allocate(8 + padded).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(text);
        buffer.put(" ".repeat(padded - text.length).getBytes(StandardCharsets.US_ASCII));
        return buffer.flip();
    }

    private static long bytes(ParameterShape parameter) {
        return 2 * parameter.elements();
    }

    private static void writeTensor(FileChannel channel, ParameterShape parameter, MemorySegment values) throws IOException {
        if (values.byteSize() != bytes(parameter)) {
            throw new IllegalArgumentException(parameter.name() + " needs " + bytes(parameter) + " bytes, not " + values.byteSize());
        }
        for (long at = 0; at < values.byteSize(); at += CHUNK) {
            writeFully(channel, values.asSlice(at, Math.min(CHUNK, values.byteSize() - at)).asByteBuffer());
        }
    }

    private static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    private static void deleteQuietly(Path partial) {
        try {
            Files.deleteIfExists(partial);
        } catch (IOException leftover) {
            // The write's own outcome counts; a leftover .partial file is never read.
        }
    }
}
