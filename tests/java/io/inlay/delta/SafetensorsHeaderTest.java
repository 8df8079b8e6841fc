package io.inlay.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.inlay.Problem;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsHeaderTest {

    private static MemorySegment file(String header, int data) {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return MemorySegment.ofArray(ByteBuffer.allocate(8 + json.length + data).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).put(json)
                .array());
    }

    private static SafetensorsHeader read(MemorySegment file) {
        return SafetensorsHeader.read(file, "x.safetensors", Problem.Code.CORRUPT_CHECKPOINT);
    }

    @Test
    void tensors_come_in_the_order_of_their_bytes_whatever_the_order_of_the_header() {
        SafetensorsHeader header = read(file("{\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[4,8]},"
                + "\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}  ", 8));
        assertThat(header.entries()).extracting(SafetensorsHeader.Entry::name).containsExactly("a", "b");
        assertThat(header.metadata()).containsEntry("format", "pt");
        assertThat(header.entries().getFirst().begin()).isEqualTo(header.dataStart());
    }

    @Test
    void tensors_without_elements_are_fine() {
        SafetensorsHeader header = read(file("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[0,0]},"
                + "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3));
        assertThat(header.entries()).hasSize(2);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{`a`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[0,2]},`a`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[2,4]}}|4|Duplicate field 'a'",
        "{`a`:{`dtype`:`U8`,`shape`:[3],`data_offsets`:[0,3]},`b`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[2,4]}}|4|tensor 'b' overlapping another",
        "{`a`:{`dtype`:`U8`,`shape`:[1],`data_offsets`:[0,1]},`b`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[2,4]}}|4|a gap of 1 bytes before tensor 'b'",
        "{`a`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[0,2]}}|4|2 bytes that belong to no tensor at its end",
        "{`a`:{`dtype`:`U8`,`shape`:[9],`data_offsets`:[0,9]}}|4|data_offsets [0, 9] outside its 4 bytes of data",
        "{`a`:{`dtype`:`U8`,`shape`:[2],`data_offsets`:[2,0]}}|4|data_offsets [2, 0] outside its 4 bytes of data",
        "{`a`:{`dtype`:`F32`,`shape`:[2],`data_offsets`:[0,4]}}|4|tensor 'a' of F32[2], which takes 8 bytes, with data_offsets of 4",
        "{`a`:{`dtype`:`X9`,`shape`:[2],`data_offsets`:[0,4]}}|4|tensor 'a' of unknown dtype 'X9'",
        "{`a`:{`dtype`:`U8`,`shape`:[4294967296,4294967296,4],`data_offsets`:[0,4]}}|4|more bytes than there can be",
        "{`a`:{`dtype`:`U8`,`shape`:[99999999999999999999],`data_offsets`:[0,4]}}|4|not a whole number",
        "{`a`:{`dtype`:`U8`,`shape`:[-4],`data_offsets`:[0,4]}}|4|'-4' that is not a whole number",
        "{`a`:{`dtype`:`U8`,`shape`:[1.5],`data_offsets`:[0,4]}}|4|'1.5' that is not a whole number",
        "{`a`:{`dtype`:`U8`,`shape`:[4]}}|4|tensor 'a' without data_offsets",
        "{`a`:{`dtype`:`U8`,`shape`:[4],`data_offsets`:[0,4],`x`:1}}|4|an unknown field 'x'",
        "{`a`:[[[[[[[[[[1]]]]]]]]]]}|0|by something other than a JSON object",
        "{`a`:{`dtype`:`U8`,`shape`:[[[[[[[[[4]]]]]]]]],`data_offsets`:[0,4]}}|4|not a whole number",
        "{`__metadata__`:{`a`:1}}|0|metadata 'a' that is not a string",
        "{}x|0|malformed header",
        "[]|0|does not begin with '{'",
        "{`a`|0|malformed header",
    })
    void what_breaks_a_rule_is_refused_by_name(String header, int data, String message) {
        assertThatThrownBy(() -> read(file(header.replace('`', '"'), data))).isInstanceOf(Problem.class)
                .hasMessageStartingWith("x.safetensors ").hasMessageContaining(message);
    }

    @Test
    void a_header_longer_than_the_file_is_refused() {
        byte[] bytes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(1000).array();
        assertThatThrownBy(() -> read(MemorySegment.ofArray(bytes)))
                .hasMessage("x.safetensors states a header of 1000 bytes but is only 16 bytes long; it is truncated; fetch or write the file again");
    }

    @Test
    void a_header_over_the_bound_is_refused_before_anything_is_allocated() {
        byte[] bytes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(-1).array();
        assertThatThrownBy(() -> read(MemorySegment.ofArray(bytes))).hasMessageContaining("states a header of 18446744073709551615 bytes");
    }

    @Test
    void a_header_that_is_not_utf8_is_refused() {
        byte[] bytes = ByteBuffer.allocate(11).order(ByteOrder.LITTLE_ENDIAN).putLong(3).put((byte) '{').put((byte) 0xFF).put((byte) '}').array();
        assertThatThrownBy(() -> read(MemorySegment.ofArray(bytes))).hasMessageContaining("a header that is not UTF-8");
    }

    @Test
    void a_file_of_fewer_than_eight_bytes_is_refused() {
        assertThatThrownBy(() -> read(MemorySegment.ofArray(new byte[7]))).hasMessageContaining("is 7 bytes");
    }
}
