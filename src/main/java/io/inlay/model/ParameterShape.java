package io.inlay.model;

/** A parameter that a checkpoint must have: its name and its sizes, linears as [out, in]. */
public record ParameterShape(String name, long[] shape) {

    public long elements() {
        long count = 1;
        for (long size : shape) {
            count *= size;
        }
        return count;
    }
}
