package io.inlay.store;

import io.inlay.Problem;
import io.inlay.delta.DeltaManifest;
import io.inlay.delta.SafetensorsHeader;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What a version has of one tensor.
 *
 * @param blocks trained blocks of it; 0 of one that is stored whole
 * @param values trained values; -1 of one that is stored whole, whose shape is the base's
 * @param bytes of it in the file
 */
public record TensorShare(String tensor, long blocks, long values, long bytes) {

    /** Reads a file's header. */
    static List<TensorShare> of(MemorySegment file, String label, DeltaManifest manifest) {
        SortedMap<String, TensorShare> shares = new TreeMap<>();
        for (SafetensorsHeader.Entry entry : SafetensorsHeader.read(file, label, Problem.Code.CORRUPT_DELTA).entries()) {
            int dot = entry.name().lastIndexOf('.');
            String tensor = entry.name().substring(0, Math.max(0, dot));
            boolean places = entry.name().endsWith(".blocks") && entry.shape().length == 2;
            long blocks = places ? entry.shape()[0] : 0;
            long values = entry.name().endsWith(".whole") ? -1 : blocks * manifest.edge() * manifest.edge();
            shares.merge(tensor, new TensorShare(tensor, blocks, values, entry.bytes()), (one, other) -> new TensorShare(tensor,
                    one.blocks() + other.blocks(), one.values() + other.values(), one.bytes() + other.bytes()));
        }
        return List.copyOf(shares.values());
    }
}
