package io.inlay.model;

import io.inlay.Problem;
import io.inlay.delta.SafetensorsHeader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A tiny model of tests/golden/llama and what transformers computes with it; that folder's README lists the names.
 */
public final class Golden {

    private final Path folder;
    private final byte[] file;
    private final Map<String, SafetensorsHeader.Entry> entries = new LinkedHashMap<>();

    private Golden(Path folder, byte[] file) {
        this.folder = folder;
        this.file = file;
        SafetensorsHeader header = SafetensorsHeader.read(MemorySegment.ofArray(file), "golden.safetensors", Problem.Code.INTERNAL);
        header.entries().forEach(entry -> entries.put(entry.name(), entry));
    }

    /** {@code llama2-like}, {@code llama31-like}, {@code sharded-bf16} or {@code fp16}. */
    public static Golden of(String model) {
        return in(Path.of("tests/golden/llama", model));
    }

    /** The {@code golden.safetensors} of another folder; its README lists the names. */
    public static Golden in(Path folder) {
        try {
            return new Golden(folder, Files.readAllBytes(folder.resolve("golden.safetensors")));
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    /** The model itself, in Hugging Face layout. */
    public Path folder() {
        return folder;
    }

    public float[] floats(String name) {
        return bytes(name, "F32").toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
    }

    public int[] ints(String name) {
        return bytes(name, "I32").toArray(ValueLayout.JAVA_INT_UNALIGNED);
    }

    public long[] shape(String name) {
        return entry(name).shape().clone();
    }

    /** Autograd's gradient of every parameter, by the parameter's name. */
    public SortedMap<String, float[]> gradients() {
        SortedMap<String, float[]> gradients = new TreeMap<>();
        for (String name : entries.keySet()) {
            if (name.startsWith("gradient.")) {
                gradients.put(name.substring("gradient.".length()), floats(name));
            }
        }
        return gradients;
    }

    private MemorySegment bytes(String name, String dtype) {
        SafetensorsHeader.Entry entry = entry(name);
        if (!entry.dtype().equals(dtype)) {
            throw new IllegalArgumentException(name + " is " + entry.dtype() + ", not " + dtype);
        }
        return MemorySegment.ofArray(file).asSlice(entry.begin(), entry.bytes());
    }

    private SafetensorsHeader.Entry entry(String name) {
        SafetensorsHeader.Entry entry = entries.get(name);
        if (entry == null) {
            throw new IllegalArgumentException(folder + " has no golden '" + name + "' but " + entries.keySet());
        }
        return entry;
    }
}
