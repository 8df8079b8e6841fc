package io.inlay.model;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.inlay.delta.BlockCoordinate;
import io.inlay.delta.DenseExport;
import io.inlay.delta.SafetensorsLayout;
import io.inlay.delta.TarOutput;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.tensor.DType;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A base with a delta in its weights, as a checkpoint in Hugging Face layout that any engine loads: config, tokenizer, and weights in the
 * type in which they are served, in shards where they are large. Packed as one tar archive and written a band of rows at a time: of the
 * checkpoint nothing is ever in memory but the base that is there anyway.
 */
public final class MergedExport {

    /** What transformers takes for a shard by default. */
    public static final long SHARD_BYTES = 5_000_000_000L;

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final List<String> COMPANIONS = List.of("generation_config.json", "tokenizer.json", "tokenizer_config.json",
            "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja");

    private final LlamaModel base;
    private final Map<String, TensorBlocks> blocks = new HashMap<>();
    private final Map<String, WholeTensor> wholes = new HashMap<>();
    private final long shardBytes;

    /** @param shardBytes of tensors in one file at most; a larger tensor has a file of its own */
    public MergedExport(LlamaModel base, List<TensorBlocks> blocks, List<WholeTensor> tensors, long shardBytes) {
        this.base = base;
        this.shardBytes = shardBytes;
        blocks.forEach(each -> this.blocks.put(each.tensor(), each));
        tensors.forEach(each -> wholes.put(each.tensor(), each));
    }

    /** Writes the archive; the stream stays open. */
    public void write(OutputStream out) throws IOException {
        TarOutput tar = new TarOutput(out);
        tar.file("config.json", config());
        for (String name : COMPANIONS) {
            Path file = base.folder().resolve(name);
            if (Files.isRegularFile(file)) {
                tar.file(name, Files.readAllBytes(file));
            }
        }
        List<List<ParameterShape>> shards = shards();
        if (shards.size() > 1) {
            tar.file("model.safetensors.index.json", index(shards));
        }
        for (int k = 0; k < shards.size(); k++) {
            List<ParameterShape> shard = shards.get(k);
            SafetensorsLayout layout = new SafetensorsLayout().metadata(Map.of("format", "pt"));
            shard.forEach(parameter -> layout.add(parameter.name(), base.dtype() == DType.BF16 ? "BF16" : "F32", parameter.shape(),
                    bytes(parameter)));
            byte[] header = layout.header();
            tar.file(name(k, shards.size()), header.length + layout.dataBytes(), to -> {
                to.write(header);
                for (ParameterShape parameter : shard) {
                    writeMerged(parameter, to);
                }
            });
        }
        tar.end();
    }

    /** The base's own, with the type of the weights as they are written. */
    private byte[] config() throws IOException {
        ObjectNode config = (ObjectNode) JSON.readTree(base.folder().resolve("config.json").toFile());
        config.put(config.has("dtype") ? "dtype" : "torch_dtype", base.dtype() == DType.BF16 ? "bfloat16" : "float32");
        return JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(config);
    }

    private List<List<ParameterShape>> shards() {
        List<List<ParameterShape>> shards = new ArrayList<>();
        long held = Long.MAX_VALUE;
        for (ParameterShape parameter : base.config().parameters()) {
            if (held > shardBytes - bytes(parameter)) {
                shards.add(new ArrayList<>());
                held = 0;
            }
            shards.getLast().add(parameter);
            held += bytes(parameter);
        }
        return shards;
    }

    private static String name(int k, int of) {
        return of == 1 ? "model.safetensors" : String.format("model-%05d-of-%05d.safetensors", k + 1, of);
    }

    private byte[] index(List<List<ParameterShape>> shards) throws IOException {
        ObjectNode index = JSON.createObjectNode();
        index.putObject("metadata").put("total_size", shards.stream().flatMap(List::stream).mapToLong(this::bytes).sum());
        ObjectNode names = index.putObject("weight_map");
        for (int k = 0; k < shards.size(); k++) {
            for (ParameterShape parameter : shards.get(k)) {
                names.put(parameter.name(), name(k, shards.size()));
            }
        }
        return JSON.writeValueAsBytes(index);
    }

    private long bytes(ParameterShape parameter) {
        return parameter.elements() * base.dtype().bytes();
    }

    private void writeMerged(ParameterShape parameter, OutputStream out) throws IOException {
        Tensor weight = base.tensor(parameter.name());
        if (wholes.containsKey(parameter.name())) {
            MemorySegment values = wholes.get(parameter.name()).values();
            DenseExport.copy(base.dtype() == DType.BF16 ? values : widened(values, 0, values.byteSize() / 2), out);
        } else if (blocks.containsKey(parameter.name())) {
            try (Scope copy = new Scope(base.torch())) {
                writeBands(copy.onHost(weight).segment(), blocks.get(parameter.name()), out);
            }
        } else {
            try (Scope copy = new Scope(base.torch())) {
                DenseExport.copy(copy.onHost(weight).segment(), out);
            }
        }
    }

    /** A band is {@code edge} rows of the matrix: those of one row of blocks. */
    private void writeBands(MemorySegment weight, TensorBlocks trained, OutputStream out) throws IOException {
        int element = base.dtype().bytes();
        int edge = trained.edge();
        byte[] band = new byte[Math.multiplyExact(edge, trained.columns() * element)];
        int next = 0;
        for (int row = 0; row < trained.rows() / edge; row++) {
            MemorySegment.copy(weight, ValueLayout.JAVA_BYTE, (long) row * band.length, band, 0, band.length);
            for (; next < trained.coordinates().size() && trained.coordinates().get(next).row() == row; next++) {
                place(trained, next, MemorySegment.ofArray(band));
            }
            out.write(band);
        }
    }

    private void place(TensorBlocks trained, int k, MemorySegment band) {
        int element = base.dtype().bytes();
        int edge = trained.edge();
        BlockCoordinate at = trained.coordinates().get(k);
        for (int row = 0; row < edge; row++) {
            long to = ((long) row * trained.columns() + (long) at.column() * edge) * element;
            MemorySegment values = element == 2 ? trained.block(k).asSlice(2L * row * edge, 2L * edge)
                    : widened(trained.block(k), (long) row * edge, edge);
            MemorySegment.copy(values, 0, band, to, (long) edge * element);
        }
    }

    /** bf16 values as fp32. */
    private static MemorySegment widened(MemorySegment values, long from, long count) {
        int[] wide = new int[Math.toIntExact(count)];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values.get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * (from + i)) << 16;
        }
        return MemorySegment.ofArray(wide);
    }
}
