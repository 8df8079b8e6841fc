package io.inlay.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.CpuKernels;
import io.inlay.tensor.DType;
import io.inlay.tensor.Device;
import io.inlay.tensor.Libtorch;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MergedExportTest {

    private static final Path BASE = Path.of("tests/golden/tuning/model");
    private static final String QUERY = Projection.Q.tensor(0);

    @TempDir
    private Path root;

    private final Arena arena = Arena.ofAuto();

    private static LlamaModel open(Path folder, DType dtype) {
        return LlamaModel.open(Libtorch.load(), CpuKernels.best(), folder, new ModelOptions(dtype, 0, null, Device.CPU));
    }

    /** Two blocks of a layer's q, at its corners, and the last norm. */
    private List<TensorBlocks> blocks(LlamaModel model) {
        var matrix = model.matrix(QUERY);
        MemorySegment values = arena.allocate(2L * 2 * 16 * 16, 64);
        for (int i = 0; i < 512; i++) {
            values.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (0x3C00 + i));
        }
        return List.of(new TensorBlocks(QUERY, matrix.rows(), matrix.columns(), 16, List.of(new BlockCoordinate(0, 0),
                new BlockCoordinate(matrix.rows() / 16 - 1, matrix.columns() / 16 - 1)), values));
    }

    private WholeTensor norm(LlamaModel model) {
        WholeTensor norm = model.whole(LlamaWeights.NORM);
        MemorySegment values = arena.allocate(norm.values().byteSize(), 64).fill((byte) 0x3F);
        return new WholeTensor(norm.tensor(), norm.shape(), values);
    }

    /** Unpacked by the system's tar: a reader that is not ours. */
    private Path unpacked(MergedExport export, String name) throws IOException, InterruptedException {
        Path folder = Files.createDirectory(root.resolve(name));
        Process tar = new ProcessBuilder("tar", "-x", "-C", folder.toString()).redirectErrorStream(true).start();
        try (OutputStream out = tar.getOutputStream()) {
            export.write(out);
        }
        String said = new String(tar.getInputStream().readAllBytes());
        assertThat(tar.waitFor()).as(said).isZero();
        return folder;
    }

    @Test
    void the_delta_stands_in_the_weights_whatever_the_shards_and_all_else_is_the_base() throws IOException, InterruptedException {
        try (LlamaModel model = open(BASE, DType.BF16)) {
            List<TensorBlocks> blocks = blocks(model);
            List<WholeTensor> tensors = List.of(norm(model));
            Path expected = MergedCheckpoint.write(BASE, root.resolve("expected"), blocks, tensors);
            Path one = unpacked(new MergedExport(model, blocks, tensors, Long.MAX_VALUE), "one");
            Path many = unpacked(new MergedExport(model, blocks, tensors, 20_000), "many");
            assertThat(Files.readAllBytes(one.resolve("tokenizer.json"))).isEqualTo(Files.readAllBytes(BASE.resolve("tokenizer.json")));
            try (Stream<Path> shards = Files.list(many)) {
                assertThat(shards.filter(file -> file.getFileName().toString().matches("model-0000\\d-of-000\\d\\d\\.safetensors"))).hasSizeGreaterThan(2);
            }
            assertThat(one.resolve("model.safetensors")).exists();
            try (LlamaModel wanted = open(expected, DType.BF16); LlamaModel single = open(one, DType.BF16); LlamaModel sharded = open(many, DType.BF16)) {
                assertThat(single.fingerprint()).isEqualTo(wanted.fingerprint()).isNotEqualTo(model.fingerprint());
                assertThat(sharded.fingerprint()).isEqualTo(wanted.fingerprint());
            }
        }
    }

    @Test
    void a_model_served_in_fp32_is_written_in_fp32() throws IOException, InterruptedException {
        try (LlamaModel model = open(BASE, DType.FP32)) {
            List<TensorBlocks> blocks = blocks(model);
            Path folder = unpacked(new MergedExport(model, blocks, List.of(norm(model)), Long.MAX_VALUE), "wide");
            assertThat(Files.readString(folder.resolve("config.json"))).contains("float32");
            try (Checkpoint written = Checkpoint.open(folder)) {
                StoredTensor query = written.tensors().get(QUERY);
                assertThat(query.type()).isEqualTo(StoredType.F32);
                assertThat(query.bytes().get(ValueLayout.JAVA_INT_UNALIGNED, 0)).isEqualTo(0x3C00 << 16);
                assertThat(query.bytes().get(ValueLayout.JAVA_INT_UNALIGNED, query.bytes().byteSize() - 4)).isEqualTo(0x3C00 + 511 << 16);
                assertThat(written.tensors().get(LlamaWeights.NORM).bytes().get(ValueLayout.JAVA_INT_UNALIGNED, 0)).isEqualTo(0x3F3F0000);
                long between = 4L * 16;
                assertThat(query.bytes().get(ValueLayout.JAVA_INT_UNALIGNED, between))
                        .isEqualTo(model.tensor(QUERY).segment().get(ValueLayout.JAVA_INT_UNALIGNED, between));
            }
        }
    }
}
