package io.inlay.api;

import io.inlay.generation.ModelCatalog;
import io.inlay.store.Aliases;
import io.inlay.store.DeltaRegistry;
import io.inlay.store.DeltaVersion;
import jakarta.enterprise.context.ApplicationScoped;

/** Versions as the wire has them. */
@ApplicationScoped
class DeltaViews {

    private final DeltaRegistry deltas;
    private final ModelCatalog catalog;

    DeltaViews(DeltaRegistry deltas, ModelCatalog catalog) {
        this.deltas = deltas;
        this.catalog = catalog;
    }

    DeltaWire.Delta delta(DeltaVersion version) {
        boolean ready = catalog.names().contains(version.base()) && catalog.status(version.base()) == ModelCatalog.Status.READY;
        Double share = ready ? (double) version.manifest().values() / catalog.base(version.base()).parameterCount() : null;
        return new DeltaWire.Delta(version.model(), "delta", version.base(), version.task(), version.number(), version.digest(),
                version.fileDigest(), version.fileBytes(), version.manifest().values(), share, version.manifest().baseFingerprint(),
                version.manifest().createdAt(), version.manifest().job(), deltas.aliases().of(version), deltas.annotations().tags(version),
                deltas.annotations().note(version).orElse(null));
    }

    static DeltaWire.Alias alias(Aliases.Alias alias) {
        return new DeltaWire.Alias(alias.base() + ":" + alias.task() + "@" + alias.name(), "delta.alias", alias.name(), alias.number(),
                alias.revision(), alias.changedAt() / 1000);
    }
}
