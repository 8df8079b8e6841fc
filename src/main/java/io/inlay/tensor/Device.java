package io.inlay.tensor;

/** Where a tensor's bytes live: {@code cpu} or {@code cuda:n}. */
public record Device(Kind kind, int index) {

    /** libtorch's device types (c10/core/DeviceType.h). */
    public enum Kind {
        CPU,
        CUDA
    }

    public static final Device CPU = new Device(Kind.CPU, 0);

    public Device {
        if (index < 0) {
            throw new IllegalArgumentException("device index is " + index + "; it counts from 0");
        }
        if (kind == Kind.CPU && index != 0) {
            throw new IllegalArgumentException("there is one cpu device; index " + index + " names none");
        }
    }

    public static Device cuda(int index) {
        return new Device(Kind.CUDA, index);
    }

    public boolean isCpu() {
        return kind == Kind.CPU;
    }

    int torchType() {
        return kind.ordinal();
    }

    @Override
    public String toString() {
        return isCpu() ? "cpu" : "cuda:" + index;
    }
}
