package io.inlay.kernels;

/**
 * One AdamW step's constants as all implementations use them: derived in double precision, rounded to fp32 once. An element's step is
 *
 * <pre>
 * g = scale gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 * master = decay master - stepSize m / (sqrt(v) rootScale + epsilon)
 * </pre>
 *
 * with {@code decay = 1 - lr weightDecay, stepSize = lr / (1 - beta1^t), rootScale = 1 / sqrt(1 - beta2^t)}.
 */
record AdamWConstants(float scale, float beta1, float rest1, float beta2, float rest2, float decay, float stepSize, float rootScale,
        float epsilon) {

    static AdamWConstants of(Kernels.AdamW step) {
        return new AdamWConstants((float) step.gradientScale(), (float) step.beta1(), (float) (1 - step.beta1()), (float) step.beta2(),
                (float) (1 - step.beta2()), (float) (1 - step.learningRate() * step.weightDecay()),
                (float) (step.learningRate() / (1 - Math.pow(step.beta1(), step.step()))),
                (float) (1 / Math.sqrt(1 - Math.pow(step.beta2(), step.step()))), (float) step.epsilon());
    }
}
