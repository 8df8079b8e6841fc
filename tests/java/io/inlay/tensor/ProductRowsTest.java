package io.inlay.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What exact serving stands on: a row of libtorch's bf16 product has the same bits however many rows it is made with, from 2 on, so that
 * a prompt may be cut anywhere.
 */
class ProductRowsTest {

    private static final int ROWS = 512;
    private static final int[] SOME = {2, 16, 32, 48, 112, 128, 256, 496};

    @ParameterizedTest
    @CsvSource({"64, 64", "256, 1024", "2048, 512", "512, 2048", "2048, 2048", "8192, 256"})
    void a_row_of_a_product_does_not_depend_on_how_many_there_are(int inner, int outputs) {
        Libtorch torch = Libtorch.load();
        SplittableRandom random = new SplittableRandom(inner);
        try (Scope scope = new Scope(torch)) {
            Tensor x = normal(scope, random, ROWS, inner);
            Tensor weight = normal(scope, random, outputs, inner).transpose(scope, 0, 1);
            Tensor all = scope.empty(DType.BF16, Device.CPU, ROWS, outputs);
            torch.mm(all, x, weight);
            long row = 2L * outputs;
            for (int count : SOME) {
                int from = random.nextInt(ROWS - count + 1);
                Tensor some = scope.empty(DType.BF16, Device.CPU, count, outputs);
                torch.mm(some, x.narrow(scope, 0, from, count), weight);
                assertThat(some.segment().mismatch(all.segment().asSlice(from * row, count * row))).as("%d rows from %d on", count, from)
                        .isEqualTo(-1);
            }
        }
    }

    private static Tensor normal(Scope scope, SplittableRandom random, int rows, int columns) {
        Tensor made = scope.empty(DType.BF16, Device.CPU, rows, columns);
        MemorySegment memory = made.segment();
        for (long i = 0; i < made.elements(); i++) {
            memory.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits((float) random.nextGaussian()) >>> 16));
        }
        return made;
    }
}
