package io.inlay.api;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import io.inlay.store.Quota;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** JSON of the delta store's resources; names are the wire's. */
final class DeltaWire {

    private DeltaWire() {
    }

    // ---- requests ----

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Annotation(List<String> tags, String note) {
    }

    /** {@code expected} is the version that the alias must name now, 0 for none. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    record Promotion(Integer version, Integer expected, GateBody gate) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record GateBody(String metric, String comparison, Double threshold) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Composition(String first, String second, String policy, String task) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Subtraction(String from, String what, String task) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Retention(Integer keep_last) {
    }

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Erasure(String tenant) {
    }

    // ---- answers ----

    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Delta(String id, String object, String base, String task, int version, String digest, String file_digest, long bytes, long values,
            Double share_of_parameters, String base_fingerprint, String created, String job, Collection<String> aliases,
            Collection<String> tags, String note) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Details(Delta delta, Map<String, String> hyperparameters, Map<String, Double> metrics, String data_digest, String code,
            List<String> parents) {
    }

    /** {@code layer} and {@code matrix} where the tensor is one of a layer's; {@code values} where it is in blocks. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    record Tensor(String tensor, Integer layer, String matrix, long blocks, Long values, long bytes) {
    }

    /** {@code ratio}: bytes of the file to bytes of the trained values. */
    record Description(String id, String object, int block_edge, long blocks, long values, long bytes, double ratio, List<Tensor> tensors) {
    }

    record Difference(String object, String first, String second, int common, int changed, int only_first, int only_second, double distance,
            double largest) {
    }

    record Derived(Delta delta, int conflicts, List<String> conflicting) {
    }

    record Alias(String id, String object, String alias, int version, int revision, long changed_at) {
    }

    /** {@code from} and {@code to} are null where the alias was not there. */
    record Move(int revision, String kind, Integer from, Integer to, long made_at) {
    }

    /** The quotas are null where nothing bounds the tenant. */
    record Usage(String object, String tenant, long versions, long bytes, Long quota_versions, Long quota_bytes) {

        static Usage of(String tenant, io.inlay.store.Usage usage, Quota quota) {
            return new Usage("delta.usage", tenant, usage.versions(), usage.bytes(), quota.versions() == 0 ? null : quota.versions(),
                    quota.bytes() == 0 ? null : quota.bytes());
        }
    }

    record Deleted(String object, List<String> deleted) {
    }

    record Receipt(String object, String tenant, int versions, long bytes, List<String> file_digests, String erased_at) {
    }
}
