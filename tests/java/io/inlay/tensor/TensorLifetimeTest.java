package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Scopes free what they own, in time; a tensor whose scope has closed is refused, never read. */
class TensorLifetimeTest {

    private static final int STEPS = 10_000;

    private static Libtorch torch;

    @BeforeAll
    static void load() {
        torch = Libtorch.load();
    }

    @Test
    void ten_thousand_steps_leave_native_memory_where_it_was() throws Throwable {
        try (Scope outer = new Scope(torch)) {
            Tensor weight = outer.zeros(DType.FP32, Device.CPU, 16, 16);
            long[] growth = new long[5];
            for (int round = 0; round < growth.length; round++) {
                long before = nativeBytes();
                for (int step = 0; step < STEPS; step++) {
                    step(weight);
                }
                growth[round] = nativeBytes() - before;
            }
            // The JVM's compiler takes or gives back megabytes in some rounds, a leak shows in all: so the median counts. Tensors are
            // small, so that threads have no part in it; a handle alone has more than 100 bytes.
            Arrays.sort(growth);
            assertThat(growth[2]).as("bytes more in use after %d steps, median of %s", STEPS, Arrays.toString(growth))
                    .isLessThan(100L * STEPS);
        }
    }

    /** As a layer does: activations, views of them, a product, attention, a conversion; all die with the step. */
    private static void step(Tensor weight) {
        try (Scope scope = new Scope(torch)) {
            Tensor x = scope.zeros(DType.FP32, Device.CPU, 8, 16);
            Tensor y = scope.empty(DType.FP32, Device.CPU, 8, 16);
            torch.mm(y, x, weight.transpose(scope, 0, 1));
            Tensor heads = y.reshape(scope, 1, 1, 8, 16);
            Libtorch.Attention attention = torch.attention(scope, heads, heads, heads, true, 0.125);
            torch.attentionBackward(scope, heads, heads, heads, heads, attention, true, 0.125);
            scope.free(scope.copyTo(attention.out(), DType.BF16, Device.CPU));
            Tensor kept = scope.copyTo(y.narrow(scope, 1, 4, 8), DType.BF16, Device.CPU);
            try (Scope inner = new Scope(torch)) {
                scope.release(kept, inner);
            }
        }
    }

    /** Bytes that the process has from malloc and has not given back, by glibc's mallinfo2 (uordblks and hblkhd). */
    private static long nativeBytes() throws Throwable {
        Linker linker = Linker.nativeLinker();
        Optional<MemorySegment> symbol = linker.defaultLookup().find("mallinfo2");
        Assumptions.assumeTrue(symbol.isPresent(), "this C library has no mallinfo2");
        StructLayout layout = MemoryLayout.structLayout(MemoryLayout.sequenceLayout(10, ValueLayout.JAVA_LONG));
        MethodHandle mallinfo2 = linker.downcallHandle(symbol.get(), FunctionDescriptor.of(layout));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment info = (MemorySegment) mallinfo2.invokeExact((SegmentAllocator) arena);
            return info.getAtIndex(ValueLayout.JAVA_LONG, 4) + info.getAtIndex(ValueLayout.JAVA_LONG, 7);
        }
    }

    @Test
    void a_view_keeps_its_bytes_until_its_own_scope_closes() {
        try (Scope outer = new Scope(torch)) {
            Tensor view;
            try (Scope inner = new Scope(torch)) {
                view = inner.of(Device.CPU, new float[] {1, 2, 3, 4}, 2, 2).narrow(outer, 0, 1, 1);
            }
            assertThat(Scope.floats(torch, view)).containsExactly(3, 4);
        }
    }

    @Test
    void a_tensor_is_refused_after_its_scope_has_closed() {
        Tensor gone;
        try (Scope scope = new Scope(torch)) {
            gone = scope.zeros(DType.FP32, Device.CPU, 3, 5);
        }
        String message = "tensor fp32[3, 5] cpu was used after its scope had closed";
        try (Scope scope = new Scope(torch)) {
            Tensor open = scope.zeros(DType.FP32, Device.CPU, 3, 5);
            assertThatThrownBy(gone::segment).isInstanceOf(IllegalStateException.class).hasMessage(message);
            assertThatThrownBy(gone::address).isInstanceOf(IllegalStateException.class).hasMessage(message);
            assertThatThrownBy(() -> torch.zero(gone)).isInstanceOf(IllegalStateException.class).hasMessage(message);
            assertThatThrownBy(() -> torch.copy(open, gone)).isInstanceOf(IllegalStateException.class).hasMessage(message);
            assertThatThrownBy(() -> gone.narrow(scope, 0, 0, 1)).isInstanceOf(IllegalStateException.class).hasMessage(message);
            assertThatThrownBy(() -> scope.copyTo(gone, DType.BF16, Device.CPU)).isInstanceOf(IllegalStateException.class)
                    .hasMessage(message);
        }
    }

    @Test
    void a_closed_scope_takes_no_more_tensors_and_closes_twice_without_harm() {
        Scope scope = new Scope(torch);
        scope.zeros(DType.FP32, Device.CPU, 4);
        scope.close();
        scope.close();
        assertThatThrownBy(() -> scope.empty(DType.FP32, Device.CPU, 4)).isInstanceOf(IllegalStateException.class)
                .hasMessage("the scope is closed; make tensors in an open one");
    }

    @Test
    void a_scope_frees_and_releases_only_what_it_owns() {
        try (Scope one = new Scope(torch); Scope other = new Scope(torch)) {
            Tensor tensor = one.zeros(DType.FP32, Device.CPU, 4);
            assertThatThrownBy(() -> other.free(tensor)).hasMessage("the scope does not own fp32[4] cpu");
            assertThatThrownBy(() -> other.release(tensor, one)).hasMessage("the scope does not own fp32[4] cpu");
            one.free(tensor);
            assertThatThrownBy(() -> one.free(tensor)).hasMessage("the scope does not own fp32[4] cpu");
        }
    }
}
