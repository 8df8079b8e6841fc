package io.inlay.store;

import io.inlay.delta.DeltaManifest;
import java.util.Collection;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** A version told in Markdown, of its manifest and what people have written on it. */
public final class ModelCard {

    private ModelCard() {
    }

    public static String of(DeltaVersion version, Collection<String> aliases, Collection<String> tags, Optional<String> note) {
        DeltaManifest manifest = version.manifest();
        StringBuilder card = new StringBuilder("# ").append(version.model()).append("\n\n");
        note.ifPresent(text -> card.append(text).append("\n\n"));
        card.append("A fine-tune of `").append(version.base()).append("`: ").append(manifest.values()).append(" trained values in ")
                .append(version.fileBytes()).append(" bytes");
        if (manifest.values() > 0) {
            card.append(String.format(Locale.ROOT, " (%.3f bytes a value)", (double) version.fileBytes() / manifest.values()));
        }
        card.append(".\n\n| | |\n|---|---|\n");
        row(card, "aliases", String.join(", ", aliases));
        row(card, "tags", String.join(", ", tags));
        row(card, "created", manifest.createdAt());
        row(card, "base fingerprint", manifest.baseFingerprint());
        row(card, "digest", version.digest());
        row(card, "file digest", version.fileDigest());
        row(card, "block edge", Integer.toString(manifest.edge()));
        row(card, "job", manifest.job());
        row(card, "data digest", manifest.dataDigest());
        row(card, "made of", String.join(", ", manifest.parents()));
        row(card, "Inlay", manifest.code());
        table(card, "Metrics", manifest.metrics());
        table(card, "Hyperparameters", manifest.hyperparameters());
        return card.toString();
    }

    private static void table(StringBuilder card, String title, Map<String, ?> rows) {
        if (!rows.isEmpty()) {
            card.append("\n## ").append(title).append("\n\n| | |\n|---|---|\n");
            rows.forEach((name, value) -> row(card, name, String.valueOf(value)));
        }
    }

    /** A row, unless there is nothing to say. What others have written cannot end it. */
    private static void row(StringBuilder card, String name, String value) {
        if (value != null && !value.isEmpty()) {
            card.append("| ").append(name).append(" | ").append(value.replace("|", "\\|").replaceAll("\\R", " ")).append(" |\n");
        }
    }
}
