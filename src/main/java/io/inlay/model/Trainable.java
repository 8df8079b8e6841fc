package io.inlay.model;

/** What a backward pass makes gradients for. The weights that are not named are frozen and cost nothing but their part of dX. */
public sealed interface Trainable permits TrainableBlocks, TrainableModel, LowRankAdapters, GradientProbe {

    /** Whether the weight of that name gets a gradient. */
    boolean trains(String tensor);
}
