package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What libtorch would refuse, or crash on, becomes a Java exception with shapes and types in it. */
class TensorRefusalTest {

    private static Libtorch torch;

    private final Scope scope = new Scope(torch);

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    @Test
    void products_whose_shapes_or_types_do_not_fit() {
        Tensor out = zeros(DType.BF16, 4, 6);
        refused(() -> torch.mm(out, zeros(DType.BF16, 4, 5), zeros(DType.BF16, 4, 6)),
                "mm does not fit its operands: [bf16[4, 6] cpu, bf16[4, 5] cpu, bf16[4, 6] cpu]");
        refused(() -> torch.mm(out, zeros(DType.FP32, 4, 5), zeros(DType.FP32, 5, 6)),
                "mm does not fit its operands: [bf16[4, 6] cpu, fp32[4, 5] cpu, fp32[5, 6] cpu]");
        refused(() -> torch.mm(zeros(DType.INT32, 4, 6), zeros(DType.INT32, 4, 5), zeros(DType.INT32, 5, 6)), "mm does not fit");
        refused(() -> torch.mm(out, zeros(DType.BF16, 20), zeros(DType.BF16, 5, 6)), "mm does not fit its operands");
        refused(() -> torch.addmm(out, zeros(DType.BF16, 3, 5), zeros(DType.BF16, 5, 6), 1, 1), "addmm does not fit its operands");
    }

    @Test
    void products_with_nothing_in_them_are_zeros() {
        Tensor out = scope.of(Device.CPU, new float[] {1, 2, 3, 4}, 2, 2);
        torch.mm(out, zeros(DType.FP32, 2, 0), zeros(DType.FP32, 0, 2));
        assertThat(Scope.floats(torch, out)).containsExactly(0, 0, 0, 0);
        torch.mm(zeros(DType.FP32, 0, 3), zeros(DType.FP32, 0, 2), zeros(DType.FP32, 2, 3));
    }

    @Test
    void attention_over_operands_that_do_not_fit() {
        Tensor query = zeros(DType.FP32, 1, 4, 5, 8);
        refused(() -> torch.attention(scope, query, zeros(DType.FP32, 1, 2, 5, 8), zeros(DType.FP32, 1, 2, 5, 8), false, 1),
                "attention does not fit its operands: [fp32[1, 4, 5, 8] cpu, fp32[1, 2, 5, 8] cpu, fp32[1, 2, 5, 8] cpu]");
        refused(() -> torch.attention(scope, query, zeros(DType.BF16, 1, 4, 5, 8), zeros(DType.BF16, 1, 4, 5, 8), false, 1),
                "attention does not fit its operands");
        refused(() -> torch.attention(scope, query, zeros(DType.FP32, 1, 4, 7, 8), zeros(DType.FP32, 1, 4, 7, 8), true, 1),
                "attention with a causal mask does not fit its operands");
        refused(() -> torch.attention(scope, zeros(DType.FP32, 4, 5, 8), zeros(DType.FP32, 4, 5, 8), zeros(DType.FP32, 4, 5, 8), false, 1),
                "attention does not fit its operands");
    }

    @Test
    void copies_between_sizes_that_differ() {
        refused(() -> torch.copy(zeros(DType.FP32, 2, 3), zeros(DType.FP32, 3, 2)),
                "copy does not fit its operands: [fp32[2, 3] cpu, fp32[3, 2] cpu]");
    }

    @Test
    void views_that_leave_their_tensor() {
        Tensor tensor = zeros(DType.FP32, 4, 6);
        refused(() -> tensor.narrow(scope, 1, 4, 3), "narrow of dimension 1 to [4, 7) leaves fp32[4, 6] cpu");
        refused(() -> tensor.narrow(scope, 2, 0, 1), "dimension 2 is not one of fp32[4, 6] cpu");
        refused(() -> tensor.strided(scope, new long[] {5, 6}, new long[] {6, 1}, 0),
                "view [5, 6] strides [6, 1] offset 0 leaves fp32[4, 6] cpu");
        refused(() -> tensor.strided(scope, new long[] {4, 6}, new long[] {6, 1}, 1),
                "view [4, 6] strides [6, 1] offset 1 leaves fp32[4, 6] cpu");
        refused(() -> tensor.strided(scope, new long[] {4}, new long[] {-1}, 3), "view [4] strides [-1] is negative");
        refused(() -> tensor.reshape(scope, 5, 5), "reshape of fp32[4, 6] cpu to [5, 5] changes the number of elements");
        refused(() -> tensor.transpose(scope, 0, 1).reshape(scope, 24),
                "reshape needs a contiguous tensor, not fp32[6, 4] strides [1, 6] cpu");
    }

    @Test
    void memory_that_is_too_small_or_on_the_heap() {
        try (Arena arena = Arena.ofConfined()) {
            refused(() -> scope.wrap(arena.allocate(15), DType.FP32, 2, 2), "wrap of 16 bytes over memory of 15");
            refused(() -> scope.wrap(MemorySegment.ofArray(new float[4]), DType.FP32, 2, 2), "wrap needs native memory");
            refused(() -> scope.of(Device.CPU, new float[3], 2, 2), "3 values do not fill fp32[2, 2] cpu");
            refused(() -> scope.empty(DType.FP32, Device.CPU, 2, -1), "a tensor cannot have a dimension of -1");
        }
    }

    @Test
    void values_and_rows_that_do_not_fit() {
        Tensor tensor = zeros(DType.FP32, 4, 6);
        refused(() -> tensor.fill(MemorySegment.ofArray(new float[23])), "92 bytes do not fill fp32[4, 6] cpu");
        refused(() -> tensor.transpose(scope, 0, 1).fill(MemorySegment.ofArray(new float[24])), "96 bytes do not fill fp32[6, 4] strides");
        Tensor index = scope.of(Device.CPU, new long[] {0, 1}, 2);
        refused(() -> torch.scatterRows(tensor, index, zeros(DType.FP32, 3, 6)),
                "scatter of rows does not fit its operands: [fp32[4, 6] cpu");
        refused(() -> torch.scatterRows(tensor, scope.of(Device.CPU, new int[] {0, 1}, 2), zeros(DType.FP32, 2, 6)), "scatter of rows");
        refused(() -> torch.scatterRows(tensor, index, zeros(DType.BF16, 2, 6)), "scatter of rows");
    }

    @Test
    void more_memory_than_there_is() {
        assertThatThrownBy(() -> scope.empty(DType.FP32, Device.CPU, 1L << 50)).isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("libtorch refused allocation of fp32[1125899906842624] on cpu");
        assertThat(Scope.floats(torch, zeros(DType.FP32, 2))).containsExactly(0, 0);
    }

    @Test
    void a_library_path_without_libtorch(@TempDir Path folder) throws Exception {
        Files.createDirectories(folder.resolve("lib"));
        String before = System.getProperty("PYTORCH_LIBRARY_PATH");
        System.setProperty("PYTORCH_LIBRARY_PATH", folder.resolve("lib").toString());
        try {
            assertThatThrownBy(Libtorch::load).isInstanceOfSatisfying(Problem.class,
                    problem -> assertThat(problem.code()).isEqualTo(Problem.Code.UNAVAILABLE))
                    .hasMessage("PYTORCH_LIBRARY_PATH is " + folder.resolve("lib") + ", which has no libtorch_cpu.so; point it at the "
                            + "lib folder of a torch installation, or unset it to use the CPU build that Inlay brings");
        } finally {
            if (before == null) {
                System.clearProperty("PYTORCH_LIBRARY_PATH");
            } else {
                System.setProperty("PYTORCH_LIBRARY_PATH", before);
            }
        }
    }

    private Tensor zeros(DType dtype, long... sizes) {
        return scope.zeros(dtype, Device.CPU, sizes);
    }

    private static void refused(ThrowingCallable call, String message) {
        assertThatThrownBy(call).isInstanceOf(IllegalArgumentException.class).hasMessageStartingWith(message);
    }
}
