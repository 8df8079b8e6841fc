package io.inlay.model;

import io.inlay.Problem;
import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import io.inlay.kernels.TileTable;
import io.inlay.tensor.DType;
import io.inlay.tensor.HostUpload;
import io.inlay.tensor.Scope;
import io.inlay.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A delta laid over a model: a tile table for each linear that has blocks, and tensors that stand in for the base's where a delta has
 * whole ones. The base is not touched; activating an overlay is handing it to a call. For a bf16 model on the CPU both are the
 * {@link TensorBlocks}' and {@link WholeTensor}s' own memory, which must outlive the overlay ({@link #borrows}); otherwise they are copies.
 */
public final class WeightOverlay implements AutoCloseable {

    private static final WeightOverlay NONE = new WeightOverlay(null, null, new TileTable[0][], null, 0);

    private final Arena arena;
    private final Scope scope;
    private final TileTable[][] tables;
    private final LlamaWeights weights;
    private final long bytes;

    private WeightOverlay(Arena arena, Scope scope, TileTable[][] tables, LlamaWeights weights, long bytes) {
        this.arena = arena;
        this.scope = scope;
        this.tables = tables;
        this.weights = weights;
        this.bytes = bytes;
    }

    /** The base as it is. */
    public static WeightOverlay none() {
        return NONE;
    }

    /** An overlay of these blocks; refuses tensors and shapes that the model lacks. */
    public static WeightOverlay of(LlamaModel model, List<TensorBlocks> blocks) {
        return of(model, blocks, List.of());
    }

    /** An overlay of these blocks and whole tensors; refuses tensors and shapes that the model lacks. */
    public static WeightOverlay of(LlamaModel model, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
        return of(model, blocks, tensors, false);
    }

    /** @param own whether blocks and tensors may go, and are copied where they would be borrowed */
    private static WeightOverlay of(LlamaModel model, List<TensorBlocks> blocks, List<WholeTensor> tensors, boolean own) {
        boolean copied = own && borrows(model);
        LlamaConfig config = model.config();
        TileTable[][] tables = new TileTable[config.layers()][Projection.values().length];
        Arena arena = Arena.ofShared();
        Scope scope = new Scope(model.torch(), "deltas of " + model.name());
        Arrivals arrivals = new Arrivals(model, arena, scope);
        long bytes = 0;
        try {
            for (TensorBlocks each : blocks) {
                place(model, each, copied ? copy(each.values(), arena) : each.values(), tables, arena, arrivals);
                bytes += each.values().byteSize();
            }
            Map<String, Tensor> replaced = new HashMap<>();
            for (WholeTensor each : tensors) {
                replaced.put(each.tensor(), replacement(model, copied ? copy(each, arena) : each, arrivals));
                bytes += each.values().byteSize();
            }
            arrivals.bring();
            LlamaWeights weights = replaced.isEmpty() ? null
                    : LlamaWeights.of(config, name -> replaced.getOrDefault(name, model.tensor(name)));
            return new WeightOverlay(arena, scope, tables, weights, bytes);
        } catch (RuntimeException failure) {
            scope.close();
            arena.close();
            throw failure;
        }
    }

    /**
     * The same weights without tile tables: each linear that has blocks is a copy with the blocks in place, in the overlay's own memory, so
     * that blocks and tensors may go. The base is not touched. Where linears are served in int8 their bytes have no place for a block's
     * values: the tables stay, over copies of the blocks.
     */
    public static WeightOverlay merged(LlamaModel model, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
        if (model.form() == ModelOptions.Form.INT8) {
            return of(model, blocks, tensors, true);
        }
        Arena arena = Arena.ofShared();
        Scope scope = new Scope(model.torch(), "merged deltas of " + model.name());
        try (WeightOverlay tiled = of(model, blocks, List.of())) {
            Map<String, Tensor> replaced = new HashMap<>();
            for (int layer = 0; layer < model.config().layers(); layer++) {
                for (Projection projection : Projection.values()) {
                    TileTable tiles = tiled.table(layer, projection);
                    if (tiles != null) {
                        Tensor weight = model.weights().layers().get(layer).linear(projection);
                        Tensor copy = scope.empty(model.dtype(), model.device(), weight.sizes());
                        model.kernels().assemble(weight, tiles, copy);
                        replaced.put(projection.tensor(layer), copy);
                    }
                }
            }
            Arrivals arrivals = new Arrivals(model, arena, scope);
            for (WholeTensor each : tensors) {
                replaced.put(each.tensor(), replacement(model, borrows(model) ? copy(each, arena) : each, arrivals));
            }
            arrivals.bring();
            LlamaWeights weights = LlamaWeights.of(model.config(), name -> replaced.getOrDefault(name, model.tensor(name)));
            long bytes = replaced.values().stream().mapToLong(Tensor::bytes).sum();
            return new WeightOverlay(arena, scope, new TileTable[0][], weights, bytes);
        } catch (RuntimeException failure) {
            scope.close();
            arena.close();
            throw failure;
        }
    }

    /** Blocks as they are being trained: the overlay shows whatever values they have at the time of a pass, and must not outlive them. */
    public static WeightOverlay of(LlamaModel model, TrainableBlocks blocks) {
        TileTable[][] tables = new TileTable[model.config().layers()][Projection.values().length];
        for (int layer = 0; layer < tables.length; layer++) {
            for (Projection projection : Projection.values()) {
                TrainableBlocks.Part part = blocks.part(projection.tensor(layer));
                tables[layer][projection.ordinal()] = part == null ? null : part.tiles();
            }
        }
        return new WeightOverlay(null, null, tables, null, blocks.values().bytes());
    }

    private static void place(LlamaModel model, TensorBlocks blocks, MemorySegment bits, TileTable[][] tables, Arena arena,
            Arrivals arrivals) {
        for (int layer = 0; layer < tables.length; layer++) {
            for (Projection projection : Projection.values()) {
                if (projection.tensor(layer).equals(blocks.tensor())) {
                    var weight = model.weights().layers().get(layer).linear(projection);
                    if (weight.size(0) != blocks.rows() || weight.size(1) != blocks.columns()) {
                        throw new Problem(Problem.Code.BASE_MISMATCH, "the delta's " + blocks.tensor() + " is of " + blocks.rows() + " x "
                                + blocks.columns() + ", the model's " + weight + "; it was trained on another base");
                    }
                    Tensor values = arrivals.values(bits, blocks.coordinates().size(), blocks.edge(), blocks.edge());
                    tables[layer][projection.ordinal()] = TileTable.of(arena, blocks.rows(), blocks.columns(), blocks.edge(),
                            blocks.coordinates(), values);
                    return;
                }
            }
        }
        throw new Problem(Problem.Code.BASE_MISMATCH, "the delta has blocks of " + blocks.tensor() + ", which is no linear of model "
                + model.name() + "; it was trained on another base");
    }

    private static Tensor replacement(LlamaModel model, WholeTensor whole, Arrivals arrivals) {
        Tensor weight = model.tensor(whole.tensor());
        if (weight == null || !weight.hasSizes(whole.shape())) {
            throw new Problem(Problem.Code.BASE_MISMATCH, "the delta's " + whole.tensor() + " is of " + Arrays.toString(whole.shape())
                    + (weight == null ? ", the model has none" : ", the model's " + weight) + "; it was trained on another base");
        }
        return arrivals.values(whole.values(), whole.shape());
    }

    /**
     * Values of a delta, in the model's type on its device. On the CPU they are there at once; to another device all of a delta's are
     * brought in one go, when {@link #bring} is called.
     */
    private record Arrivals(LlamaModel model, Arena arena, Scope scope, List<HostUpload.Transfer> transfers) {

        Arrivals(LlamaModel model, Arena arena, Scope scope) {
            this(model, arena, scope, new ArrayList<>());
        }

        /** Their own memory for a bf16 model on the CPU, a copy otherwise. */
        Tensor values(MemorySegment bf16, long... shape) {
            if (model.device().isCpu()) {
                return scope.wrap(model.dtype() == DType.BF16 ? bf16 : widen(bf16, arena), model.dtype(), shape);
            }
            Tensor values = scope.empty(model.dtype(), model.device(), shape);
            transfers.add(new HostUpload.Transfer(bf16, values));
            return values;
        }

        void bring() {
            if (transfers.isEmpty()) {
                return;
            }
            if (model.dtype() == DType.BF16) {
                model.upload().copy(transfers);
                return;
            }
            try (Scope stored = new Scope(model.torch())) {
                List<HostUpload.Transfer> asStored = transfers.stream().map(each -> new HostUpload.Transfer(each.from(),
                        stored.empty(DType.BF16, model.device(), each.to().sizes()))).toList();
                model.upload().copy(asStored);
                for (int i = 0; i < asStored.size(); i++) {
                    model.torch().copy(transfers.get(i).to(), asStored.get(i).to());
                }
            }
        }
    }

    private static WholeTensor copy(WholeTensor whole, Arena arena) {
        return new WholeTensor(whole.tensor(), whole.shape(), copy(whole.values(), arena));
    }

    private static MemorySegment copy(MemorySegment values, Arena arena) {
        return arena.allocate(values.byteSize(), 64).copyFrom(values);
    }

    private static MemorySegment widen(MemorySegment bf16, Arena arena) {
        long count = bf16.byteSize() / 2;
        MemorySegment fp32 = arena.allocate(count * 4, 64);
        for (long i = 0; i < count; i++) {
            fp32.setAtIndex(ValueLayout.JAVA_INT, i, bf16.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
        }
        return fp32;
    }

    /** Whether overlays of a model show the memory of the deltas that they are made of. */
    public static boolean borrows(LlamaModel model) {
        return model.dtype() == DType.BF16 && model.device().isCpu();
    }

    /** The tile table of a linear, or null where the base stands alone. */
    TileTable table(int layer, Projection projection) {
        return tables.length == 0 ? null : tables[layer][projection.ordinal()];
    }

    /** The model's weights, with the delta's whole tensors in their places. */
    LlamaWeights over(LlamaWeights base) {
        return weights == null ? base : weights;
    }

    /** Bytes of values that the overlay shows. */
    public long bytes() {
        return bytes;
    }

    @Override
    public void close() {
        if (arena != null) {
            scope.close();
            arena.close();
        }
    }
}
