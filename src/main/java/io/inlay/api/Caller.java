package io.inlay.api;

import io.inlay.Problem;
import io.inlay.access.Principal;
import jakarta.enterprise.context.RequestScoped;
import java.util.Optional;

/** Who asks, by the request's key, and what the request is about to change. */
@RequestScoped
public class Caller {

    private Principal principal;
    private String change;

    String tenant() {
        return principal().flatMap(Principal::tenant).orElseThrow(() -> new Problem(Problem.Code.PERMISSION_DENIED,
                "the key belongs to no tenant; use a tenant's"));
    }

    /** Empty before the key was looked at. */
    Optional<Principal> principal() {
        return Optional.ofNullable(principal);
    }

    void is(Principal known) {
        principal = known;
    }

    /** Empty for what changes nothing. */
    Optional<String> change() {
        return Optional.ofNullable(change);
    }

    void changes(String what) {
        change = what;
    }
}
