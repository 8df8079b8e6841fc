package io.inlay.tuning;

/** Where the sums of warm-up gradients live. */
public enum WarmUpMemory {
    /** What {@link WarmUpPlacement} finds room for. */
    AUTO,
    /** Beside the weights: quickest. */
    DEVICE,
    /** In the host's memory, outside libtorch; gradients go there to be added. The same bits as {@link #DEVICE}. */
    HOST,
    /** Nowhere: every gradient becomes its blocks' numbers at once, which not every score allows. */
    STREAM
}
