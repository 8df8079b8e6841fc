package io.inlay.delta;

import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A delta as plain safetensors, for tools that know nothing of Inlay: {@code <tensor>.blocks} I32 [n, 2] and {@code <tensor>.values} BF16
 * [n, l, l], and whole tensors BF16 under their own names. The manifest is in the metadata, under {@code format} = {@value #FORMAT}.
 */
public final class DenseExport {

    static final String FORMAT = "inlay-delta-dense";

    private static final int PIECE = 1 << 20;

    private DenseExport() {
    }

    /** Bytes that {@link #write} will write. */
    public static long bytes(DeltaManifest manifest, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
        SafetensorsLayout layout = layout(manifest, blocks, tensors);
        return layout.header().length + layout.dataBytes();
    }

    /** Writes the file; the stream stays open. */
    public static void write(DeltaManifest manifest, List<TensorBlocks> blocks, List<WholeTensor> tensors, OutputStream out)
            throws IOException {
        out.write(layout(manifest, blocks, tensors).header());
        for (TensorBlocks each : blocks) {
            out.write(DeltaFile.coordinates(each));
            copy(each.values(), out);
        }
        for (WholeTensor each : tensors) {
            copy(each.values(), out);
        }
    }

    private static SafetensorsLayout layout(DeltaManifest manifest, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
        Map<String, String> metadata = new TreeMap<>(manifest.toMetadata());
        metadata.put(DeltaManifest.FORMAT_KEY, FORMAT);
        SafetensorsLayout layout = new SafetensorsLayout().metadata(metadata);
        for (TensorBlocks each : blocks) {
            long n = each.coordinates().size();
            layout.add(each.tensor() + ".blocks", "I32", new long[] {n, 2}, 8 * n);
            layout.add(each.tensor() + ".values", "BF16", new long[] {n, each.edge(), each.edge()}, each.values().byteSize());
        }
        tensors.forEach(each -> layout.add(each.tensor(), "BF16", each.shape(), each.values().byteSize()));
        return layout;
    }

    /** Copies memory of any size through a small buffer. */
    public static void copy(MemorySegment values, OutputStream out) throws IOException {
        byte[] piece = new byte[(int) Math.min(PIECE, values.byteSize())];
        for (long at = 0; at < values.byteSize(); at += PIECE) {
            int length = (int) Math.min(PIECE, values.byteSize() - at);
            MemorySegment.copy(values, ValueLayout.JAVA_BYTE, at, piece, 0, length);
            out.write(piece, 0, length);
        }
    }
}
