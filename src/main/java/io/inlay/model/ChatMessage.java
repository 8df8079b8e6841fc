package io.inlay.model;

/** One turn of a conversation: {@code role} is system, user, assistant or what the template knows. */
public record ChatMessage(String role, String content) {
}
