package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.CpuKernels;
import io.inlay.kernels.HostAsCudaKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostAsCuda;
import io.inlay.tensor.Libtorch;
import io.inlay.tensor.MadeDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A delta on its way to a device, by a driver that copies as late as it may. */
class DeltaUploadTest {

    private static final Path FOLDER = Path.of("tests/golden/llama/llama31-like");
    private static final int EDGE = 16;

    @TempDir
    private Path folder;

    @BeforeAll
    static void compiler() {
        MadeDriver.assumeCompiler();
    }

    @ParameterizedTest
    @EnumSource(names = {"BF16", "FP32"})
    void it_waits_once_for_what_is_computed_lets_nothing_wait_and_is_whole_when_it_is_there(DType type) throws Exception {
        MadeDriver driver = MadeDriver.of(folder.resolve(type + ".so"));
        try (LlamaModel cpu = LlamaModel.open(Libtorch.load(), CpuKernels.best(), FOLDER, ModelOptions.of(type));
                LlamaModel device = LlamaModel.open(driver.torch(), HostAsCudaKernels.over(CpuKernels.best()), FOLDER,
                        new ModelOptions(type, 0, null, HostAsCuda.DEVICE));
                Arena arena = Arena.ofShared()) {
            assertThat(device.digest()).isEqualTo(cpu.fingerprint());
            List<TensorBlocks> blocks = blocks(device, arena);
            WholeTensor norm = norm(device, arena);
            long bytes = blocks.stream().mapToLong(each -> each.values().byteSize()).sum() + norm.values().byteSize();
            long before = driver.waitsForComputing();
            try (WeightOverlay overlay = WeightOverlay.of(device, blocks, List.of(norm));
                    WeightOverlay expected = WeightOverlay.of(cpu, blocks, List.of(norm))) {
                assertThat(driver.copiesUnderWay()).isZero();
                assertThat(driver.waitsForComputing() - before).as("waits for what is computed").isOne();
                assertThat(device.torch().devices().held(HostAsCuda.DEVICE)).as("no copy stays beside that which is served")
                        .containsEntry("deltas of llama31-like", bytes / 2 * type.bytes());
                assertThat(logits(device, overlay)).isEqualTo(logits(cpu, expected));
            }
            assertThat(driver.hindrancesOfComputing()).isZero();
        }
    }

    private static float[] logits(LlamaModel model, WeightOverlay overlay) {
        try (LlamaInference inference = new LlamaInference(model); KvCache cache = inference.cache(40)) {
            return inference.prefill(new SplittableRandom(1).ints(30, 5, 500).toArray(), cache, overlay);
        }
    }

    /** The first block of every linear. */
    private static List<TensorBlocks> blocks(LlamaModel model, Arena arena) {
        SplittableRandom random = new SplittableRandom(2);
        List<TensorBlocks> all = new ArrayList<>();
        for (int layer = 0; layer < model.config().layers(); layer++) {
            for (Projection projection : Projection.values()) {
                long[] shape = model.config().shape(projection);
                MemorySegment values = arena.allocate(2L * EDGE * EDGE, 64);
                for (int i = 0; i < EDGE * EDGE; i++) {
                    float value = (float) (0.2 * random.nextGaussian());
                    values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(value) >>> 16));
                }
                all.add(new TensorBlocks(projection.tensor(layer), (int) shape[0], (int) shape[1], EDGE, List.of(new BlockCoordinate(0, 0)),
                        values));
            }
        }
        return all;
    }

    private static WholeTensor norm(LlamaModel model, Arena arena) {
        WholeTensor norm = model.whole(LlamaWeights.NORM);
        return new WholeTensor(norm.tensor(), norm.shape(), arena.allocate(norm.values().byteSize(), 64).fill((byte) 0x3F));
    }
}
