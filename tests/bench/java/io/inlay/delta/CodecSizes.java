package io.inlay.delta;

import com.github.luben.zstd.Zstd;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/**
 * What blocks weigh, in bytes a value: in our files, by XOR with the base, byte split and zstd level 1, and at the least by order-0 entropy:
 * of the folded difference, given the exponent of the base beneath.
 */
public record CodecSizes(long values, double ours, double xorSplit, double entropy) {

    public static CodecSizes of(List<TensorBlocks> blocks, BaseMatrices base) {
        long values = 0;
        long ours = 0;
        long xorSplit = 0;
        int[][] counts = new int[256][1 << 16];
        try (Codecs codecs = new Codecs()) {
            for (TensorBlocks each : blocks) {
                BaseMatrices.Matrix matrix = base.matrix(each.tensor());
                ours += BlockPayload.encode(AnyThread.view(each), AnyThread.view(matrix), codecs).length;
                short[] under = under(each, matrix);
                short[] trained = each.values().toArray(ValueLayout.JAVA_SHORT_UNALIGNED);
                int chunk = BlockPayload.CHUNK_BLOCKS * each.edge() * each.edge();
                for (int from = 0; from < trained.length; from += chunk) {
                    xorSplit += xorSplit(trained, under, from, Math.min(trained.length, from + chunk));
                }
                for (int i = 0; i < trained.length; i++) {
                    counts[under[i] >> 7 & 0xFF][OrderedSteps.folded(trained[i], under[i])]++;
                }
                values += trained.length;
            }
        }
        return new CodecSizes(values, (double) ours / values, (double) xorSplit / values, bits(counts) / 8 / values);
    }

    private static short[] under(TensorBlocks blocks, BaseMatrices.Matrix base) {
        int edge = blocks.edge();
        short[] values = new short[Math.toIntExact(blocks.count())];
        for (int k = 0; k < blocks.coordinates().size(); k++) {
            BlockCoordinate at = blocks.coordinates().get(k);
            for (int row = 0; row < edge; row++) {
                long source = ((long) at.row() * edge + row) * base.columns() + (long) at.column() * edge;
                MemorySegment.copy(base.bits(), ValueLayout.JAVA_SHORT_UNALIGNED, 2 * source, values, (k * edge + row) * edge, edge);
            }
        }
        return values;
    }

    private static int xorSplit(short[] trained, short[] under, int from, int to) {
        int n = to - from;
        byte[] planes = new byte[2 * n];
        for (int i = 0; i < n; i++) {
            int x = trained[from + i] ^ under[from + i];
            planes[i] = (byte) (x >> 8);
            planes[n + i] = (byte) x;
        }
        return Math.min(2 * n, Zstd.compress(planes, 1).length);
    }

    private static double bits(int[][] counts) {
        double bits = 0;
        for (int[] exponent : counts) {
            double total = 0;
            for (int count : exponent) {
                total += count;
            }
            for (int count : exponent) {
                if (count > 0) {
                    bits += count * Math.log(total / count) / Math.log(2);
                }
            }
        }
        return bits;
    }
}
