package io.inlay.server;

import io.inlay.api.Admission;
import io.inlay.generation.GenerationEngine;
import io.inlay.generation.ModelCatalog;
import io.inlay.kernels.KvPages;
import io.micrometer.prometheus.PrometheusMeterRegistry;
import io.prometheus.client.Collector;
import jakarta.inject.Singleton;
import java.util.ArrayList;
import java.util.List;

/**
 * What the endpoint picker of a Kubernetes gateway reads (Gateway API inference extension, model server protocol), under the names that
 * vLLM gives it, which are the picker's defaults. Deltas are what the protocol calls LoRA adapters. Their names are shown only where
 * {@code inlay.metrics.tenants} says so.
 */
@Singleton
@SuppressWarnings("deprecation") // Quarkus 3.33 has this registry, on Prometheus's simple client.
public class GatewayFigures extends Collector {

    private static final String MODEL = "model_name";

    private final ModelCatalog catalog;
    private final Admission admission;
    private final PrometheusMeterRegistry registry;
    private final InlayConfig config;

    GatewayFigures(ModelCatalog catalog, Admission admission, PrometheusMeterRegistry registry, InlayConfig config) {
        this.catalog = catalog;
        this.admission = admission;
        this.registry = registry;
        this.config = config;
    }

    /** Shows them at {@code /q/metrics} from now on. */
    void publish() {
        registry.getPrometheusRegistry().register(this);
    }

    private record Ready(String name, GenerationEngine engine) {
    }

    @Override
    public List<MetricFamilySamples> collect() {
        List<Ready> ready = catalog.names().stream().flatMap(name -> catalog.engine(name).map(engine -> new Ready(name, engine)).stream())
                .toList();
        List<MetricFamilySamples> all = new ArrayList<>();
        all.add(family("vllm:num_requests_waiting", "Requests that wait for a place", ready.stream().map(each -> sample(
                "vllm:num_requests_waiting", each, each.engine().figures().waiting())).toList()));
        all.add(family("vllm:num_requests_running", "Requests that take turns", ready.stream().map(each -> sample(
                "vllm:num_requests_running", each, each.engine().figures().underWay())).toList()));
        all.add(family("vllm:kv_cache_usage_perc", "Share of the pages for keys and values that are used by requests, 0 to 1",
                ready.stream().map(each -> sample("vllm:kv_cache_usage_perc", each, share(each.engine().memory()))).toList()));
        all.add(family("vllm:cache_config_info", "Positions in a page of keys and values, and pages", ready.stream().map(each -> sample(
                "vllm:cache_config_info", List.of(MODEL, "block_size", "num_gpu_blocks"),
                List.of(each.name(), Integer.toString(KvPages.PAGE), Integer.toString(each.engine().memory().pages())), 1)).toList()));
        all.add(family("vllm:lora_requests_info", "Deltas under way and waiting; the value is the time in seconds",
                ready.stream().map(each -> sample("vllm:lora_requests_info",
                        List.of(MODEL, "max_lora", "running_lora_adapters", "waiting_lora_adapters"),
                        List.of(each.name(), Integer.toString(config.generation().concurrent()), names(each.name(), true),
                                names(each.name(), false)), System.currentTimeMillis() / 1e3)).toList()));
        return all;
    }

    private String names(String model, boolean begun) {
        return config.metrics().tenants() ? String.join(",", admission.deltas(model, begun)) : "";
    }

    /** Pages that are only kept of prompts go when they are needed. */
    private static double share(GenerationEngine.Memory memory) {
        return memory.pages() == 0 ? 0 : Math.max(0, memory.used() - memory.kept()) / (double) memory.pages();
    }

    private static MetricFamilySamples family(String name, String what, List<MetricFamilySamples.Sample> samples) {
        return new MetricFamilySamples(name, Type.GAUGE, what, samples);
    }

    private static MetricFamilySamples.Sample sample(String name, Ready of, double value) {
        return sample(name, List.of(MODEL), List.of(of.name()), value);
    }

    private static MetricFamilySamples.Sample sample(String name, List<String> labels, List<String> values, double value) {
        return new MetricFamilySamples.Sample(name, labels, values, value);
    }
}
