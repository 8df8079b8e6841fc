package io.inlay.kernels;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.delta.BlockCoordinate;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Operands that do not fit are refused by name, before any of their memory is touched, by every implementation that the host runs. */
@ParameterizedClass(name = "{0}")
@MethodSource("implementations")
class KernelsRefusalTest {

    private static Libtorch torch;

    private final Scope scope = new Scope(torch);
    private final Kernels kernels;

    KernelsRefusalTest(CpuKernels.Candidate candidate) {
        this.kernels = candidate.kernels();
    }

    static Stream<CpuKernels.Candidate> implementations() {
        return Candidates.onHost();
    }

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    @Test
    void ids_outside_the_table() {
        Tensor table = bf16(10, 8);
        Tensor out = bf16(3, 8);
        refused(() -> kernels.embed(table, ids(0, 10, 1), out),
                "embed: ids[1] is 10, outside [0, 10); given table bf16[10, 8] cpu, ids int32[3] cpu, out bf16[3, 8] cpu");
        refused(() -> kernels.embed(table, ids(0, -1, 1), out), "embed: ids[1] is -1, outside [0, 10)");
        refused(() -> kernels.embed(table, ids(0, 1), out), "embed: ids must be int32 [3]");
        refused(() -> kernels.embed(table, fp32(3), out), "embed: ids must be int32 [3]");
        refused(() -> kernels.embedBackward(out, ids(0, 1, 10), fp32(10, 8)), "embedBackward: ids[2] is 10, outside [0, 10)");
        refused(() -> kernels.embedBackward(out, ids(0, 1, 2), bf16(10, 8)), "embedBackward: an operand must be fp32");
    }

    @Test
    void positions_and_targets_outside_their_range() {
        refused(() -> kernels.rope(bf16(2, 3, 8), fp32(5, 8), ids(4, 5), false), "rope: positions[1] is 5, outside [0, 5)");
        refused(() -> kernels.crossEntropy(bf16(2, 9), ids(0, 9), 1, true, fp32(2)), "crossEntropy: targets[1] is 9, outside [0, 9)");
        refused(() -> kernels.crossEntropy(bf16(2, 9), ids(0, -1), 1, true, fp32(2)), "crossEntropy: targets[1] is -1, outside [0, 9)");
    }

    @Test
    void types_that_differ_or_are_not_floating() {
        refused(() -> kernels.rmsNorm(bf16(2, 8), fp32(8), 1e-5f, bf16(2, 8), null), "rmsNorm: weight must be [H] of x's type");
        refused(() -> kernels.rmsNorm(bf16(2, 8), bf16(8), 1e-5f, fp32(2, 8), null), "rmsNorm: types must be equal");
        refused(() -> kernels.swiGlu(ids(1), ids(1), ids(1)), "swiGlu: elements must be bf16 or fp32; given gate int32[1] cpu");
        refused(() -> kernels.linear(bf16(1, 8), fp32(4, 8), null, bf16(1, 4)), "linear: w must have x's type");
        refused(() -> kernels.linear(fp32(1, 8), fp32(4, 8), null, bf16(1, 4)), "linear: y must have x's type or fp32");
        refused(() -> kernels.accumulate(bf16(4), bf16(4)), "accumulate: an operand must be fp32");
        refused(() -> kernels.rope(bf16(2, 3, 8), bf16(5, 8), ids(0, 1), false), "rope: an operand must be fp32");
    }

    @Test
    void shapes_that_do_not_fit() {
        refused(() -> kernels.rmsNorm(bf16(2, 8), bf16(7), 1e-5f, bf16(2, 8), null),
                "rmsNorm: weight must be [H] of x's type; given x bf16[2, 8] cpu, weight bf16[7] cpu, out bf16[2, 8] cpu, rstd null");
        refused(() -> kernels.rmsNorm(bf16(2, 8), bf16(8), 1e-5f, bf16(3, 8), null), "rmsNorm: sizes must be equal");
        refused(() -> kernels.rmsNorm(bf16(2, 8), bf16(8), 1e-5f, bf16(2, 8), fp32(3)), "rmsNorm: rstd must be fp32 [N]");
        refused(() -> kernels.rmsNormBackward(bf16(2, 8), bf16(2, 8), bf16(8), null, bf16(2, 8), null), "rmsNormBackward: rstd is what");
        refused(() -> kernels.addRmsNorm(bf16(2, 8), bf16(2, 7), bf16(2, 8), bf16(8), 1e-5f, bf16(2, 8), null),
                "addRmsNorm: sizes must be equal");
        refused(() -> kernels.rope(bf16(2, 3, 7), fp32(5, 7), ids(0, 1), false), "rope: D must be even");
        refused(() -> kernels.rope(bf16(2, 3, 8), fp32(5, 6), ids(0, 1), false), "rope: table must be [P, D]");
        refused(() -> kernels.swiGluBackward(bf16(2, 8), bf16(2, 8), bf16(2, 8), bf16(2, 8), bf16(2, 9)),
                "swiGluBackward: sizes must be equal");
        refused(() -> kernels.adamW(fp32(4), fp32(4), fp32(4), fp32(5), fp32(4), step(1)),
                "adamW: all must be contiguous with equally many elements");
        refused(() -> kernels.adamW(fp32(4), fp32(4), fp32(4), fp32(4), fp32(4), step(0)), "adamW: steps count from 1, this one is 0");
        refused(() -> kernels.add(bf16(2, 3), bf16(3, 2)), "add: sizes must be equal");
        refused(() -> kernels.linear(bf16(2, 8), bf16(4, 9), null, bf16(2, 4)), "linear: x [M, K], w [O, K], y [M, O]");
        refused(() -> kernels.decodeAttention(bf16(6, 8), bf16(4, 10, 8), bf16(4, 10, 8), 3, 1, bf16(6, 8)),
                "decodeAttention: Q must be a multiple of G");
        refused(() -> kernels.decodeAttention(bf16(8, 8), bf16(4, 10, 8), bf16(4, 10, 8), 11, 1, bf16(8, 8)),
                "decodeAttention: length 11 must be 1 to S");
        refused(() -> kernels.decodeAttention(bf16(8, 8), bf16(4, 10, 8), bf16(4, 10, 8), 0, 1, bf16(8, 8)),
                "decodeAttention: length 0 must be 1 to S");
        try (Scope scope = new Scope(torch)) {
            refused(() -> kernels.causalAttention(bf16(5, 6, 8), bf16(5, 4, 8), bf16(5, 4, 8), scope.of(Device.CPU, new int[] {0, 5}, 2), 1,
                    bf16(5, 6, 8), null), "causalAttention: Q must be a multiple of G");
            refused(() -> kernels.causalAttention(bf16(5, 4, 8), bf16(5, 2, 8), bf16(5, 2, 8), scope.of(Device.CPU, new int[] {0, 4}, 2), 1,
                    bf16(5, 4, 8), null), "causalAttention: starts must go from 0 to N");
            refused(() -> kernels.causalAttention(bf16(5, 4, 8), bf16(5, 2, 8), bf16(5, 2, 8), scope.of(Device.CPU, new int[] {0, 4, 3, 5}, 4),
                    1, bf16(5, 4, 8), null), "causalAttention: starts must ascend");
            refused(() -> kernels.causalAttention(bf16(5, 4, 8), bf16(5, 2, 8), bf16(5, 2, 8), scope.of(Device.CPU, new int[] {0, 5}, 2), 1,
                    bf16(5, 4, 8), fp32(5, 4)), "causalAttention: logSumExp must be fp32 [Q, N], contiguous");
        }
        refused(() -> kernels.blockMean(bf16(8, 8), 3, fp32(2, 2)), "blockMean: edge 3 must divide both sides of g");
        refused(() -> kernels.blockAbsoluteMean(bf16(8, 8), 4, fp32(2, 1)), "blockAbsoluteMean: scores must be [R/edge, C/edge]");
    }

    @Test
    void tile_tables_of_another_weight() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocate(16 * 2);
            TileTable tiles = TileTable.of(arena, 8, 8, 4, List.of(new BlockCoordinate(1, 1)), values, 2);
            refused(() -> kernels.linear(bf16(1, 12), bf16(8, 12), tiles, bf16(1, 8)), "linear: the tile table is for a weight of 8 x 8");
            refused(() -> kernels.linear(fp32(1, 8), fp32(8, 8), tiles, fp32(1, 8)), "linear: the tile table's elements have 2 bytes");
            refused(() -> kernels.assemble(bf16(8, 8), null, bf16(8, 8)), "assemble: tiles is missing");
        }
    }

    @Test
    void linears_that_do_not_go_together() {
        List<TileTable> none = Collections.nCopies(2, null);
        Tensor x = bf16(2, 8);
        Tensor out = bf16(2, 4);
        refused(() -> kernels.linears(x, List.of(), List.of(), List.of()),
                "linears: 0 weights, 0 lists of tile tables and 0 results must be as many, one at least; given x bf16[2, 8] cpu");
        refused(() -> kernels.linears(x, List.of(bf16(4, 8)), List.of(none, none), List.of(out)),
                "linears: 1 weights, 2 lists of tile tables and 1 results must be as many, one at least");
        refused(() -> kernels.linears(x, List.of(bf16(4, 8), bf16(4, 9)), List.of(none, none), List.of(out, bf16(2, 4))),
                "linear: x [M, K], w [O, K], y [M, O]; given x bf16[2, 8] cpu, w bf16[4, 9] cpu, y bf16[2, 4] cpu");
        refused(() -> kernels.linears(x, List.of(bf16(4, 8), bf16(4, 8)), List.of(none, none.subList(0, 1)), List.of(out, bf16(2, 4))),
                "linearMixed: 1 tile tables must be one for each row of x");
        refused(() -> kernels.linears(x, List.of(bf16(4, 8), bf16(4, 8)), List.of(none, none), List.of(out, out)),
                "linears: a result must have memory of its own");
        refused(() -> kernels.linears(x, List.of(bf16(8, 8)), List.of(none), List.of(x)), "linears: a result must have memory of its own");
        Tensor scratch = bf16(2, 4);
        refused(() -> kernels.gatedLinear(x, bf16(4, 8), bf16(5, 8), scratch, out), "gatedLinear: sizes must be equal; given x bf16[2, 8] cpu, "
                + "gate bf16[4, 8] cpu, up bf16[5, 8] cpu, scratch bf16[2, 4] cpu, out bf16[2, 4] cpu");
        refused(() -> kernels.gatedLinear(x, bf16(4, 8), bf16(4, 8), scratch, bf16(2, 5)),
                "gatedLinear: x [M, K], gate and up [F, K], scratch and out [M, F]");
        refused(() -> kernels.gatedLinear(x, bf16(4, 8), bf16(4, 8), scratch, fp32(2, 4)), "gatedLinear: all must have x's type");
        refused(() -> kernels.gatedLinear(x, fp32(4, 8), fp32(4, 8), scratch, out), "gatedLinear: all must have x's type");
        refused(() -> kernels.gatedLinear(x, bf16(8, 8), bf16(8, 8), bf16(2, 8), x), "gatedLinear: a result must have memory of its own");
        refused(() -> kernels.gatedLinear(x, bf16(4, 8), bf16(4, 8), out, out), "gatedLinear: a result must have memory of its own");
        refused(() -> kernels.gatedLinear(x, bf16(4, 8), bf16(4, 8), bf16(2, 5), out), "gatedLinear: sizes must be equal");
    }

    @Test
    void strides_that_no_kernel_takes() {
        Tensor transposed = bf16(8, 2).transpose(scope, 0, 1);
        refused(() -> kernels.swiGlu(transposed, bf16(2, 8), bf16(2, 8)),
                "swiGlu: the last dimension must be dense; given gate bf16[2, 8] strides [1, 2] cpu");
        Tensor overlapping = bf16(20).strided(scope, new long[] {3, 8}, new long[] {4, 1}, 0);
        refused(() -> kernels.swiGlu(bf16(3, 8), bf16(3, 8), overlapping), "swiGlu: rows of a result must not overlap");
        Tensor repeated = bf16(8).strided(scope, new long[] {3, 8}, new long[] {0, 1}, 0);
        refused(() -> kernels.add(repeated, bf16(3, 8)), "add: rows of a result must not overlap");
        kernels.add(bf16(3, 8), repeated);
    }

    @Test
    void missing_operands_and_tensors_used_after_their_scope_had_closed() {
        refused(() -> kernels.add(bf16(2), null), "add: an operand is missing; given x bf16[2] cpu, y null");
        Tensor gone;
        try (Scope inner = new Scope(torch)) {
            gone = inner.zeros(DType.BF16, Device.CPU, 2, 8);
        }
        assertThatThrownBy(() -> kernels.add(gone, bf16(2, 8))).isInstanceOf(IllegalStateException.class)
                .hasMessage("tensor bf16[2, 8] cpu was used after its scope had closed");
    }

    private static Kernels.AdamW step(long number) {
        return new Kernels.AdamW(0.1, 0.9, 0.95, 1e-8, 0, number, 1);
    }

    private static void refused(ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith(message);
    }

    private Tensor bf16(long... sizes) {
        return scope.zeros(DType.BF16, Device.CPU, sizes);
    }

    private Tensor fp32(long... sizes) {
        return scope.zeros(DType.FP32, Device.CPU, sizes);
    }

    private Tensor ids(int... values) {
        return scope.of(Device.CPU, values, values.length);
    }
}
