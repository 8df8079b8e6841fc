package io.inlay.store;

import io.inlay.delta.TensorBlocks;
import java.util.List;

/** A version with its blocks decoded and verified, in memory of the arena that {@link DeltaStore#load} was given. */
public record LoadedDelta(DeltaVersion version, List<TensorBlocks> blocks) {
}
