package io.inlay.model;

/** Cosines and sines of the rotary embedding, from inverse frequencies in single precision as transformers computes them. */
final class RopeTable {

    private RopeTable() {
    }

    /** [positions, D]: a row is D/2 cosines, then D/2 sines. */
    static float[] of(LlamaConfig config, int positions) {
        int half = config.headDim() / 2;
        float[] inverse = inverseFrequencies(config);
        float[] table = new float[Math.multiplyExact(positions, config.headDim())];
        for (int position = 0; position < positions; position++) {
            int row = position * config.headDim();
            for (int i = 0; i < half; i++) {
                float angle = position * inverse[i];
                table[row + i] = (float) Math.cos(angle);
                table[row + half + i] = (float) Math.sin(angle);
            }
        }
        return table;
    }

    /** {@code theta^(-2i/D)} for i in [0, D/2), scaled. */
    static float[] inverseFrequencies(LlamaConfig config) {
        int half = config.headDim() / 2;
        float[] inverse = new float[half];
        for (int i = 0; i < half; i++) {
            float exponent = 2f * i / config.headDim();
            inverse[i] = 1f / (float) Math.pow((float) config.ropeTheta(), exponent);
        }
        switch (config.ropeScaling()) {
            case RopeScaling.None _ -> {
            }
            case RopeScaling.Linear linear -> {
                for (int i = 0; i < half; i++) {
                    inverse[i] = (float) (inverse[i] / linear.factor());
                }
            }
            case RopeScaling.Llama3 llama3 -> stretch(inverse, llama3);
        }
        return inverse;
    }

    /** transformers' {@code _compute_llama3_parameters}. */
    private static void stretch(float[] inverse, RopeScaling.Llama3 scaling) {
        double longest = scaling.originalPositions() / scaling.lowFrequencyFactor();
        double shortest = scaling.originalPositions() / scaling.highFrequencyFactor();
        for (int i = 0; i < inverse.length; i++) {
            double wavelength = 2 * Math.PI / inverse[i];
            if (wavelength > longest) {
                inverse[i] = (float) (inverse[i] / scaling.factor());
            } else if (wavelength >= shortest) {
                double smooth = (scaling.originalPositions() / wavelength - scaling.lowFrequencyFactor())
                        / (scaling.highFrequencyFactor() - scaling.lowFrequencyFactor());
                inverse[i] = (float) ((1 - smooth) * inverse[i] / scaling.factor() + smooth * inverse[i]);
            }
        }
    }
}
