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
                    inverse[i] = inverse[i] / (float) linear.factor();
                }
            }
            case RopeScaling.Llama3 llama3 -> stretch(inverse, llama3);
        }
        return inverse;
    }

    /** transformers' {@code _compute_llama3_parameters}, in the same single-precision steps. */
    private static void stretch(float[] inverse, RopeScaling.Llama3 scaling) {
        float factor = (float) scaling.factor();
        float low = (float) scaling.lowFrequencyFactor();
        float high = (float) scaling.highFrequencyFactor();
        float positions = scaling.originalPositions();
        for (int i = 0; i < inverse.length; i++) {
            float wavelength = 1 / inverse[i] * (float) (2 * Math.PI);
            if (wavelength > positions / low) {
                inverse[i] = inverse[i] / factor;
            } else if (wavelength >= positions / high) {
                float smooth = (1 / wavelength * positions - low) / (high - low);
                inverse[i] = (1 - smooth) * inverse[i] / factor + smooth * inverse[i];
            }
        }
    }
}
