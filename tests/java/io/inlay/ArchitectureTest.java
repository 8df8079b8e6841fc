package io.inlay;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import io.inlay.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Holds the directions of imports, and who may see which library. */
class ArchitectureTest {

    /** Top to bottom; a room may import those after it. */
    private static final List<String> ROOMS = List.of("server", "api", "access", "jobs", "generation", "tuning", "model", "store", "kernels", "delta",
            "tensor");

    private static final JavaClasses CODE = new ClassFileImporter().withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages("io.inlay");

    private static String[] packages(List<String> rooms) {
        return rooms.stream().map(room -> "io.inlay." + room + "..").toArray(String[]::new);
    }

    @Test
    void imports_go_down_only() {
        for (int lower = 1; lower < ROOMS.size(); lower++) {
            noClasses().that().resideInAPackage("io.inlay." + ROOMS.get(lower) + "..").should().dependOnClassesThat()
                    .resideInAnyPackage(packages(ROOMS.subList(0, lower))).check(CODE);
        }
    }

    @Test
    void every_class_is_in_a_room_and_the_root_holds_only_problem_which_imports_no_room() {
        for (JavaClass each : CODE) {
            boolean root = each.getPackageName().equals("io.inlay") && (each.getName().startsWith("io.inlay.Problem")
                    || each.getSimpleName().equals("package-info"));
            boolean room = ROOMS.stream().anyMatch(name -> (each.getPackageName() + ".").startsWith("io.inlay." + name + "."));
            assertThat(root || room).as("%s is in a room", each.getName()).isTrue();
        }
        noClasses().that().resideInAPackage("io.inlay").should().dependOnClassesThat().resideInAnyPackage(packages(ROOMS)).check(CODE);
    }

    @Test
    void every_room_has_a_contract() throws Exception {
        for (String room : ROOMS) {
            Path contract = Path.of("src/main/java/io/inlay", room, "package-info.java");
            assertThat(Files.readString(contract)).as("%s", contract).contains("/**");
        }
    }

    @Test
    void only_server_and_api_know_quarkus_and_jakarta() {
        noClasses().that().resideOutsideOfPackages("io.inlay.server..", "io.inlay.api..").should().dependOnClassesThat()
                .resideInAnyPackage("io.quarkus..", "jakarta..", "io.vertx..", "io.smallrye..", "org.jboss.resteasy..",
                        "org.eclipse.microprofile..", "io.micrometer..", "io.prometheus..", "io.opentelemetry..").check(CODE);
    }

    @Test
    void native_libraries_stay_in_their_rooms() {
        noClasses().that().resideOutsideOfPackage("io.inlay.tensor..").should().dependOnClassesThat()
                .resideInAnyPackage("ai.djl", "ai.djl.engine..", "ai.djl.pytorch..", "ai.djl.ndarray..").check(CODE);
        noClasses().that().resideOutsideOfPackage("io.inlay.model..").should().dependOnClassesThat()
                .resideInAnyPackage("ai.djl.huggingface..", "com.hubspot..").check(CODE);
        noClasses().that().resideOutsideOfPackage("io.inlay.kernels..").should().dependOnClassesThat().resideInAnyPackage("jcuda..")
                .check(CODE);
        noClasses().that().resideOutsideOfPackage("io.inlay.delta..").should().dependOnClassesThat()
                .resideInAnyPackage("com.github.luben..").check(CODE);
    }

    @Test
    void only_tensor_and_kernels_call_native_code() {
        DescribedPredicate<JavaClass> calls = DescribedPredicate.describe("call native code through FFM",
                type -> List.of("java.lang.foreign.Linker", "java.lang.foreign.SymbolLookup", "java.lang.foreign.FunctionDescriptor")
                        .contains(type.getName()));
        noClasses().that().resideOutsideOfPackages("io.inlay.tensor..", "io.inlay.kernels..").should().dependOnClassesThat(calls)
                .check(CODE);
    }

    /** Elsewhere a model's memory may be another device's; these read what they know to be the host's, or copies of theirs. */
    @Test
    void a_tensors_memory_is_read_by_kernels_and_at_the_borders_of_devices_alone() {
        List<String> borders = List.of("io.inlay.model.StepPass", "io.inlay.model.LlamaEncoder", "io.inlay.model.LlamaModel",
                "io.inlay.model.Int8Linears", "io.inlay.model.KvCache", "io.inlay.model.MergedExport", "io.inlay.model.DenseTensor",
                "io.inlay.model.TrainableBlocks", "io.inlay.tuning.TuningRun", "io.inlay.jobs.CheckpointFile");
        DescribedPredicate<JavaClass> inside = DescribedPredicate.describe("are neither tensors, kernels nor borders",
                type -> !type.getPackageName().startsWith("io.inlay.tensor") && !type.getPackageName().startsWith("io.inlay.kernels")
                        && borders.stream().noneMatch(border -> (type.getName() + "$").startsWith(border + "$")));
        noClasses().that(inside).should().callMethod(Tensor.class, "segment").check(CODE);
        // delta's memory is the host's: it knows no tensor.
        noClasses().that().resideOutsideOfPackages("io.inlay.tensor..", "io.inlay.kernels..", "io.inlay.delta..").should()
                .callMethod(MemorySegment.class, "ofAddress", long.class).orShould()
                .callMethod(MemorySegment.class, "reinterpret", long.class).check(CODE);
        for (String border : borders) {
            assertThat(CODE.get(border).getMethodCallsFromSelf()).as("%s is a border", border)
                    .anyMatch(call -> call.getTarget().getFullName().equals("io.inlay.tensor.Tensor.segment()"));
        }
    }

    @Test
    void the_database_is_known_to_access_store_jobs_and_server_alone() {
        noClasses().that().resideOutsideOfPackages("io.inlay.access..", "io.inlay.store..", "io.inlay.jobs..", "io.inlay.server..").should()
                .dependOnClassesThat()
                .resideInAnyPackage("java.sql..", "javax.sql..", "org.flywaydb..", "com.github.kagkarlsson..").check(CODE);
    }

    @Test
    void store_never_sees_a_tensor_and_tuning_never_sees_a_file() {
        noClasses().that().resideInAPackage("io.inlay.store..").should().dependOnClassesThat()
                .resideInAnyPackage("io.inlay.tensor..", "io.inlay.kernels..").check(CODE);
        classes().that().resideInAPackage("io.inlay.tuning..").should().onlyDependOnClassesThat(DescribedPredicate.describe("are no files",
                type -> !type.getPackageName().startsWith("java.nio.file") && !type.getPackageName().startsWith("io.inlay.store")))
                .check(CODE);
    }

    @Test
    void names_name_the_difference() throws Exception {
        Pattern empty = Pattern.compile(".*(Impl|Utils?|Helper|Manager|Common)\\.java|Abstract.*\\.java");
        try (Stream<Path> sources = Files.walk(Path.of("src/main/java"))) {
            assertThat(sources.map(file -> file.getFileName().toString()).filter(name -> empty.matcher(name).matches())).isEmpty();
        }
    }
}
