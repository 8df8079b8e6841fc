package io.inlay.api;

import jakarta.enterprise.context.RequestScoped;

/** Who asks: the tenant of the request's key. */
@RequestScoped
public class Caller {

    private String tenant;

    String tenant() {
        return tenant;
    }

    void is(String name) {
        tenant = name;
    }
}
