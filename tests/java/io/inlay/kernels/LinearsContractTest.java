package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Linears that are asked for together have the bits of each alone, of every implementation, on random shapes, layouts and tables. */
@ParameterizedClass(name = "{0}")
@MethodSource("implementations")
class LinearsContractTest {

    private static final int ROUNDS = 32;
    private static final int[] ROWS = {1, 2, 7, 8, 9, 20, 32, 33, 64, 70};
    private static final int[] EDGES = {16, 24, 64, 64, 128, 192};
    private static final Libtorch TORCH = Libtorch.load();

    private final Kernels kernels;

    LinearsContractTest(CpuKernels.Candidate candidate) {
        this.kernels = candidate.kernels();
    }

    static Stream<CpuKernels.Candidate> implementations() {
        return Stream.concat(Stream.of(new CpuKernels.Candidate(new ScalarKernels())), Candidates.all());
    }

    @Test
    void several_weights_of_one_x_with_tables_of_any_kind() {
        for (int round = 0; round < ROUNDS; round++) {
            float share = round % 4 == 3 ? 0.001f : 0;
            try (Samples ours = new Samples(TORCH, round, share); Samples theirs = new Samples(TORCH, round, share)) {
                Several apart = Several.of(theirs);
                for (int i = 0; i < apart.weights.size(); i++) {
                    kernels.linearMixed(apart.x, apart.weights.get(i), apart.tiles.get(i), apart.outs.get(i));
                }
                Several together = Several.of(ours);
                kernels.linears(together.x, together.weights, together.tiles, together.outs);
                for (int i = 0; i < apart.weights.size(); i++) {
                    same("round " + round + ", weight " + i + " of " + apart.weights, together.outs.get(i), apart.outs.get(i));
                }
            }
        }
    }

    /** One x over one to four weights, whose rows have no table, one for all or any. */
    private record Several(Tensor x, List<Tensor> weights, List<List<TileTable>> tiles, List<Tensor> outs) {

        static Several of(Samples s) {
            int edge = EDGES[s.between(0, EDGES.length - 1)];
            boolean tiled = s.between(0, 3) > 0;
            int rows = ROWS[s.between(0, ROWS.length - 1)];
            int inner = tiled ? edge * s.between(1, 5) : s.coin() ? 8 * s.between(1, 60) : s.width();
            Tensor x = s.coin() ? s.normal(rows, inner) : aligned(s, rows, inner);
            List<Tensor> weights = new ArrayList<>();
            List<List<TileTable>> tiles = new ArrayList<>();
            List<Tensor> outs = new ArrayList<>();
            DType result = s.coin() ? DType.FP32 : s.dtype();
            int count = s.between(1, 4);
            boolean packed = s.coin();
            for (int i = 0; i < count; i++) {
                int outputs = tiled ? edge * s.between(1, Math.max(1, 200 / edge)) : s.between(1, 200);
                weights.add(packed ? aligned(s, outputs, inner) : s.normal(outputs, inner));
                tiles.add(tables(s, tiled ? s.between(0, 2) : 0, rows, weights.get(i), edge));
                outs.add(s.empty(i == 1 ? s.dtype() : result, rows, outputs));
            }
            return new Several(x, weights, tiles, outs);
        }

        private static List<TileTable> tables(Samples s, int kind, int rows, Tensor w, int edge) {
            List<TileTable> some = new ArrayList<>();
            some.add(null);
            for (int i = 0; i < kind; i++) {
                some.add(s.tiles(s.dtype(), w.dim(0), w.dim(1), edge));
            }
            return kind < 2 ? Collections.nCopies(rows, some.getLast())
                    : Stream.generate(() -> some.get(s.between(0, 2))).limit(rows).toList();
        }
    }

    @Test
    void a_gated_linear_is_two_linears_and_a_gating() {
        for (int round = 0; round < ROUNDS; round++) {
            float share = round % 4 == 3 ? 0.001f : 0;
            try (Samples ours = new Samples(TORCH, round, share); Samples theirs = new Samples(TORCH, round, share)) {
                Gated apart = Gated.of(theirs);
                Tensor product = theirs.scope().empty(apart.out.dtype(), apart.out.device(), apart.out.sizes());
                kernels.linear(apart.x, apart.gate, null, apart.out);
                kernels.linear(apart.x, apart.up, null, product);
                kernels.swiGlu(apart.out, product, apart.out);
                Gated together = Gated.of(ours);
                kernels.gatedLinear(together.x, together.gate, together.up, together.scratch, together.out);
                same("round " + round + ", gate " + apart.gate, together.out, apart.out);
            }
        }
    }

    private record Gated(Tensor x, Tensor gate, Tensor up, Tensor scratch, Tensor out) {

        static Gated of(Samples s) {
            int rows = ROWS[s.between(0, ROWS.length - 1)];
            int inner = s.coin() ? 8 * s.between(1, 80) : s.width();
            int outputs = s.between(1, 200);
            boolean packed = s.between(0, 3) > 0;
            Tensor x = packed ? aligned(s, rows, inner) : s.normal(rows, inner);
            Tensor gate = packed ? aligned(s, outputs, inner) : s.normal(outputs, inner);
            Tensor up = packed || s.coin() ? aligned(s, outputs, inner) : s.normal(outputs, inner);
            return new Gated(x, gate, up, s.empty(rows, outputs), s.empty(rows, outputs));
        }
    }

    @Test
    void nothing_happens_to_no_rows() {
        try (Samples s = new Samples(TORCH, 3, 0)) {
            Tensor w = aligned(s, 24, 64);
            Tensor none = aligned(s, 0, 64);
            kernels.linears(none, List.of(w, w), List.of(List.of(), List.of()), List.of(aligned(s, 0, 24), aligned(s, 0, 24)));
            kernels.gatedLinear(none, w, w, aligned(s, 0, 24), aligned(s, 0, 24));
        }
    }

    /** Rows that begin at multiples of 16 bytes where there are eights of columns. */
    private static Tensor aligned(Samples s, int rows, int columns) {
        return s.scope().copyTo(s.normal(rows, columns), s.dtype(), Device.CPU);
    }

    private static void same(String what, Tensor actual, Tensor expected) {
        assertThat(Arrays.mismatch(Scope.floats(TORCH, actual), Scope.floats(TORCH, expected))).as(what + ": the first that differs")
                .isEqualTo(-1);
    }
}
