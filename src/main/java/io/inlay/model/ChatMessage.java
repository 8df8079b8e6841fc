package io.inlay.model;

import java.util.Objects;

/** One turn of a conversation: {@code role} is system, user, assistant or what the template knows. */
public record ChatMessage(String role, String content) {

    public ChatMessage {
        Objects.requireNonNull(role, "role");
        Objects.requireNonNull(content, "content");
    }
}
