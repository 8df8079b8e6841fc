package io.inlay.tensor;

import io.inlay.Problem;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a tensor's bytes live: {@code cpu} or {@code cuda:n}. */
public record Device(Kind kind, int index) {

    /** libtorch's device types (c10/core/DeviceType.h). */
    public enum Kind {
        CPU,
        CUDA
    }

    public static final Device CPU = new Device(Kind.CPU, 0);

    private static final Pattern CUDA = Pattern.compile("cuda(?::([0-9]{1,4}))?");

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

    /**
     * The device of that name: {@code cpu}, {@code cuda} or {@code cuda:1}.
     *
     * @throws Problem {@code INVALID_REQUEST} for any other text
     */
    public static Device named(String text) {
        Matcher cuda = CUDA.matcher(text);
        if (cuda.matches()) {
            return cuda(cuda.group(1) == null ? 0 : Integer.parseInt(cuda.group(1)));
        }
        if (text.equals("cpu")) {
            return CPU;
        }
        throw new Problem(Problem.Code.INVALID_REQUEST, "'" + text + "' names no device; name cpu, cuda:0 or another cuda:n");
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
