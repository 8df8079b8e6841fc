package io.inlay.server;

import static org.assertj.core.api.Assertions.assertThat;

import io.smallrye.config.WithDefault;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class SettingsDocumentedTest {

    @Test
    void the_readme_names_every_setting_with_its_default() throws IOException {
        String readme = Files.readString(Path.of("README.md"));
        Map<String, String> settings = new TreeMap<>();
        collect("inlay", InlayConfig.class, settings);
        assertThat(settings).hasSizeGreaterThan(10);
        settings.forEach((name, value) -> assertThat(readme).as(name).contains("| `" + name + "` | " + (value == null ? "" : "`" + value + "` |")));
    }

    private static void collect(String prefix, Class<?> group, Map<String, String> settings) {
        for (Method setting : group.getDeclaredMethods()) {
            String name = prefix + "." + setting.getName().replaceAll("([A-Z])", "-$1").toLowerCase(java.util.Locale.ROOT);
            WithDefault otherwise = setting.getAnnotation(WithDefault.class);
            if (setting.getReturnType() == Map.class) {
                collect(name + ".NAME", InlayConfig.Tenant.class, settings);
            } else if (setting.getReturnType().isInterface() && setting.getReturnType().getName().startsWith(InlayConfig.class.getName())) {
                collect(name, setting.getReturnType(), settings);
            } else {
                settings.put(name, otherwise == null ? null : otherwise.value());
            }
        }
    }
}
