package io.inlay.server;

import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.quarkus.jackson.ObjectMapperCustomizer;
import jakarta.inject.Singleton;

/** Bounds the nesting of JSON in requests before anything is made of it. */
@Singleton
public class JsonLimits implements ObjectMapperCustomizer {

    private final InlayConfig config;

    JsonLimits(InlayConfig config) {
        this.config = config;
    }

    @Override
    public void customize(ObjectMapper mapper) {
        mapper.getFactory().setStreamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(config.limits().jsonDepth()).build());
    }
}
