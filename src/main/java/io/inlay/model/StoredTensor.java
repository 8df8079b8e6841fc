package io.inlay.model;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/** A weight as it lies in its file: mapped, read-only, row-major, little endian. */
public record StoredTensor(String name, StoredType type, long[] shape, MemorySegment bytes, Path file) {
}
