package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import io.inlay.access.ApiKey;
import io.inlay.access.IssuedKey;
import io.inlay.access.Tenant;
import java.time.Instant;
import java.util.Optional;

/** JSON of tenants and keys. Times are seconds since 1970, as elsewhere. */
final class AdminWire {

    private AdminWire() {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record TenantRequest(String name) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record KeyRequest(String tenant, String role, String label, Long expires_in_seconds) {
    }

    record TenantView(String id, String object, String status, long created_at, long changed_at) {

        static TenantView of(Tenant tenant) {
            return new TenantView(tenant.name(), "tenant", tenant.status().wire(), tenant.createdAt().getEpochSecond(),
                    tenant.changedAt().getEpochSecond());
        }
    }

    /** The key's own text is there once, in the answer that makes it. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record KeyView(String id, String object, String tenant, String role, String label, long created_at, Long expires_at, Long revoked_at,
            Long last_used_at, String key) {

        static KeyView of(ApiKey key) {
            return view(key, null);
        }

        static KeyView of(IssuedKey issued) {
            return view(issued.facts(), issued.text());
        }

        private static KeyView view(ApiKey key, String text) {
            return new KeyView(key.id(), "api_key", key.tenant().orElse(null), key.role().wire(), key.label(),
                    key.createdAt().getEpochSecond(), seconds(key.expiresAt()), seconds(key.revokedAt()), seconds(key.lastUsedAt()), text);
        }

        private static Long seconds(Optional<Instant> time) {
            return time.map(Instant::getEpochSecond).orElse(null);
        }

        /** Records print their fields, and this one's must not be printed. */
        @Override
        public String toString() {
            return "KeyView[" + id + "]";
        }
    }
}
