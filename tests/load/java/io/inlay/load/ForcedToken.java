package io.inlay.load;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.DeltaFile;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.TensorBlocks;
import io.inlay.kernels.BFloat16;
import io.inlay.model.LlamaModel;
import io.inlay.model.Projection;
import io.inlay.model.TextStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A delta whose every greedy answer is one token again and again, whatever the prompt. In the last layer {@code up} becomes a copy of
 * {@code gate}, so that SwiGLU's {@code silu(z) z} is never below 0, and every column of {@code down} the same long vector u: the layer
 * adds u times a sum that is over 0, before which all else is small. The final norm makes its length 1, and the head's largest product
 * with it is that of the token's own row when u is that row, freed from the norm's weight.
 */
final class ForcedToken {

    /** How long u is, against hidden states of about 1. */
    private static final float LENGTH = 4000;

    /** By what share of itself the token's logit must be over all others. */
    private static final double MARGIN = 0.1;

    private final int token;
    private final LlamaModel model;
    private final byte[] file;

    private ForcedToken(LlamaModel model, int token, byte[] file) {
        this.model = model;
        this.token = token;
        this.file = file;
    }

    /** So many deltas, each of another token with another text. */
    static List<ForcedToken> some(LlamaModel model, int count) {
        float[][] head = rows(model, model.config().tiedEmbeddings() ? "model.embed_tokens.weight" : "lm_head.weight");
        float[] norm = values(model.whole("model.norm.weight").values());
        List<ForcedToken> found = new ArrayList<>();
        List<String> texts = new ArrayList<>();
        for (int token = head.length - 1; token > 1 && found.size() < count; token--) {
            String text = model.tokenizer().decode(new int[] {token, token, token});
            if (model.tokenizer().eos().contains(token) || text.isBlank() || text.indexOf('\uFFFD') >= 0 || texts.contains(text)) {
                continue;
            }
            float[] u = direction(head[token], norm);
            if (wins(head, norm, u, token)) {
                texts.add(text);
                found.add(new ForcedToken(model, token, file(model, u)));
            }
        }
        if (found.size() < count) {
            throw new IllegalStateException("model " + model.name() + " has " + found.size() + " tokens that can be forced, not " + count);
        }
        return found;
    }

    private static float[] direction(float[] row, float[] norm) {
        double square = 0;
        float[] u = new float[row.length];
        for (int i = 0; i < row.length; i++) {
            u[i] = Math.abs(norm[i]) < 1e-3f ? 0 : row[i] / norm[i];
            square += u[i] * u[i];
        }
        for (int i = 0; i < row.length; i++) {
            u[i] *= (float) (LENGTH / Math.sqrt(square));
        }
        return u;
    }

    private static boolean wins(float[][] head, float[] norm, float[] u, int token) {
        double own = product(head[token], norm, u);
        for (int other = 0; other < head.length; other++) {
            if (other != token && product(head[other], norm, u) > own * (1 - MARGIN)) {
                return false;
            }
        }
        return own > 0;
    }

    private static double product(float[] row, float[] norm, float[] u) {
        double sum = 0;
        for (int i = 0; i < row.length; i++) {
            sum += row[i] * norm[i] * u[i];
        }
        return sum;
    }

    private static byte[] file(LlamaModel model, float[] u) {
        int layer = model.config().layers() - 1;
        int hidden = model.config().hiddenSize();
        int wide = model.config().intermediateSize();
        int edge = gcd(gcd(hidden, wide), 256);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment gate = model.matrix(Projection.GATE.tensor(layer)).bits();
            MemorySegment down = arena.allocate(2L * hidden * wide, 64);
            for (int row = 0; row < hidden; row++) {
                for (int column = 0; column < wide; column++) {
                    down.setAtIndex(ValueLayout.JAVA_SHORT, (long) row * wide + column, BFloat16.fromFloat(u[row]));
                }
            }
            DeltaManifest draft = DeltaManifest.draft(model.name(), model.fingerprint(), "forced", edge, Instant.EPOCH.toString(), "",
                    Map.of(), "sha256:0", Map.of(), "load");
            DeltaFile.Encoded encoded = DeltaFile.encode(draft, List.of(blocks(Projection.DOWN.tensor(layer), hidden, wide, edge, down,
                    arena),
                    blocks(Projection.UP.tensor(layer), wide, hidden, edge, gate, arena)), model);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            for (byte[] part : encoded.parts()) {
                bytes.write(part);
            }
            return bytes.toByteArray();
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
    }

    /** All blocks of a matrix. */
    private static TensorBlocks blocks(String tensor, int rows, int columns, int edge, MemorySegment bits, Arena arena) {
        List<BlockCoordinate> places = new ArrayList<>();
        MemorySegment values = arena.allocate(2L * rows * columns, 64);
        long at = 0;
        for (int i = 0; i < rows / edge; i++) {
            for (int j = 0; j < columns / edge; j++) {
                places.add(new BlockCoordinate(i, j));
                for (int row = i * edge; row < (i + 1) * edge; row++) {
                    MemorySegment.copy(bits, 2 * ((long) row * columns + (long) j * edge), values, at, 2L * edge);
                    at += 2L * edge;
                }
            }
        }
        return new TensorBlocks(tensor, rows, columns, edge, places, values);
    }

    private static int gcd(int a, int b) {
        return b == 0 ? a : gcd(b, a % b);
    }

    private static float[][] rows(LlamaModel model, String tensor) {
        var matrix = model.matrix(tensor);
        float[][] rows = new float[matrix.rows()][];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = values(matrix.bits().asSlice(2L * i * matrix.columns(), 2L * matrix.columns()));
        }
        return rows;
    }

    private static float[] values(MemorySegment bits) {
        float[] values = new float[(int) (bits.byteSize() / 2)];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(bits.getAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i) << 16);
        }
        return values;
    }

    /** The delta's file, for uploads. */
    byte[] file() {
        return file;
    }

    int token() {
        return token;
    }

    /** What an answer of so many tokens says. */
    String answer(int tokens) {
        TextStream stream = model.tokenizer().stream();
        StringBuilder answer = new StringBuilder();
        for (int i = 0; i < tokens; i++) {
            answer.append(stream.feed(token));
        }
        return answer + stream.finish();
    }
}
