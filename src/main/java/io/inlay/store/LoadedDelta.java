package io.inlay.store;

import io.inlay.delta.TensorBlocks;
import io.inlay.delta.WholeTensor;
import java.util.List;

/** A version with its blocks and whole tensors decoded and verified, in memory of the arena that {@link DeltaStore#load} was given. */
public record LoadedDelta(DeltaVersion version, List<TensorBlocks> blocks, List<WholeTensor> tensors) {
}
