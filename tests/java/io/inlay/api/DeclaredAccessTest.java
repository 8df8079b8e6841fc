package io.inlay.api;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaMethod;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import io.inlay.access.Role;
import jakarta.ws.rs.HttpMethod;
import jakarta.ws.rs.Path;
import java.io.IOException;
import java.lang.annotation.Annotation;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Access is declared where a route is, whether or not the OpenAPI document has it. */
class DeclaredAccessTest {

    @Test
    void every_method_of_every_resource_declares_the_roles_and_the_change_of_the_matrix() throws IOException {
        Map<String, Routes> expected = Routes.expected();
        int routes = 0;
        for (JavaClass resource : new ClassFileImporter().withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                .importPackages("io.inlay")) {
            for (JavaMethod method : resource.getMethods()) {
                Optional<String> verb = Arrays.stream(method.reflect().getAnnotations()).map(Annotation::annotationType)
                        .map(type -> type.getAnnotation(HttpMethod.class)).filter(found -> found != null).map(HttpMethod::value)
                                .findFirst();
                if (verb.isPresent()) {
                    routes++;
                    requireDeclared(verb.get() + " " + path(method), method, expected);
                }
            }
        }
        assertThat(routes).isEqualTo(expected.size());
    }

    private static String path(JavaMethod method) {
        String path = method.getOwner().reflect().getAnnotation(Path.class).value();
        Path own = method.reflect().getAnnotation(Path.class);
        return own == null ? path : path + own.value();
    }

    private static void requireDeclared(String route, JavaMethod method, Map<String, Routes> expected) {
        assertThat(expected).as("routes.txt").containsKey(route);
        Allowed allowed = method.reflect().getAnnotation(Allowed.class);
        assertThat(allowed).as("@Allowed of %s", method.getFullName()).isNotNull();
        assertThat(Arrays.stream(allowed.value()).map(Role::wire).toList()).as(route).hasSameElementsAs(expected.get(route).roles());
        Changes changes = method.reflect().getAnnotation(Changes.class);
        assertThat(changes == null ? "" : changes.value()).as("@Changes of %s", method.getFullName()).isEqualTo(expected.get(route)
                .change());
        if (route.startsWith("DELETE ") || route.startsWith("PUT ") || route.startsWith("PATCH ")) {
            assertThat(changes).as("@Changes of %s", method.getFullName()).isNotNull();
        }
        if (route.startsWith("GET ")) {
            assertThat(changes).as("@Changes of %s", method.getFullName()).isNull();
        }
    }
}
