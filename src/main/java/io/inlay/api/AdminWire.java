package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import io.inlay.access.ApiKey;
import io.inlay.access.IssuedKey;
import io.inlay.access.Tenant;
import io.inlay.jobs.TenantErasures;
import io.inlay.store.OwnQuota;
import java.time.Instant;
import java.util.List;
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

    /** {@code erasure} is there once the tenant's deletion was asked for. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record TenantView(String id, String object, String status, long created_at, long changed_at, ErasureView erasure) {

        static TenantView of(Tenant tenant, Optional<TenantErasures.Erasure> erasure) {
            return new TenantView(tenant.name(), "tenant", tenant.status().wire(), tenant.createdAt().getEpochSecond(),
                    tenant.changedAt().getEpochSecond(), erasure.map(ErasureView::of).orElse(null));
        }
    }

    /** {@code status} is {@code under_way} or {@code done}. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record ErasureView(String status, long begun_at, ReceiptView receipt) {

        static ErasureView of(TenantErasures.Erasure erasure) {
            return new ErasureView(erasure.receipt().isPresent() ? "done" : "under_way", erasure.begunAt().getEpochSecond(),
                    erasure.receipt().map(ReceiptView::of).orElse(null));
        }
    }

    /** What was erased; the digests are those of the versions' files. */
    record ReceiptView(long jobs, long files, int versions, long bytes, List<String> file_digests, String erased_at) {

        static ReceiptView of(TenantErasures.Receipt receipt) {
            return new ReceiptView(receipt.jobs(), receipt.files(), receipt.deltas().versions(), receipt.deltas().bytes(),
                    receipt.deltas().fileDigests(), receipt.erasedAt().toString());
        }
    }

    /** {@code own_...} is what the operator set for this tenant, {@code quota_...} in {@code usage} what holds. */
    record QuotaView(String id, String object, Long own_bytes, Long own_versions, DeltaWire.Usage usage) {

        static QuotaView of(String tenant, OwnQuota own, DeltaWire.Usage usage) {
            return new QuotaView(tenant, "tenant.quota", own.bytes().isPresent() ? own.bytes().getAsLong() : null,
                    own.versions().isPresent() ? own.versions().getAsLong() : null, usage);
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
