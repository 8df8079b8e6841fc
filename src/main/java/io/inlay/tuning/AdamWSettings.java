package io.inlay.tuning;

/** AdamW's constants (Loshchilov and Hutter 2019); decay moves matrices only, never the norms' vectors. */
public record AdamWSettings(double beta1, double beta2, double epsilon, double weightDecay) {

    /** The paper's (DESIGN.md section 5). */
    public static final AdamWSettings DEFAULT = new AdamWSettings(0.9, 0.95, 1e-8, 0);

    private static final double BELOW_ONE = 0.999999;

    public AdamWSettings {
        Hyperparameter.within("beta1", beta1, 0, BELOW_ONE);
        Hyperparameter.within("beta2", beta2, 0, BELOW_ONE);
        Hyperparameter.above("epsilon", epsilon, 0, 1);
        Hyperparameter.within("weight_decay", weightDecay, 0, 1);
    }
}
